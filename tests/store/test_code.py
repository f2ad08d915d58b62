"""Which code a job runs: any edit that can change its result changes the digests of its modules."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT

from classlens.store import code
from classlens.store.code import UNKEYED, UnkeyableCode, reached
from classlens.store.key import code_key

PROJECT = {
    "__init__": "",
    "job": '"""A job."""\nfrom classlens.direct import f\nfrom classlens.errors import InputError\n',
    "direct": "from classlens.measures import boxes\ndef f(): return boxes.g()\n",
    "measures/__init__": "",
    "measures/boxes": "def g():\n    import classlens.lazy as l\n    return l.h()\n",
    "lazy": "import typing\nif typing.TYPE_CHECKING:\n    from classlens.types import T\ndef h(): return 1\n",
    "types": "T = int\n",
    "errors": "import tqdm\nfrom classlens.below_errors import x\nclass InputError(Exception): pass\n",
    "below_errors": "x = 1\n",
    "other": "y = 1\n",
}
COUNTED = [f"classlens.{name}" for name in ("direct", "job", "lazy", "measures", "measures.boxes", "types")]


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"classlens/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def modules(root: Path) -> dict[str, str]:
    return reached(["classlens.job"], root)[0]


@pytest.fixture
def root(tmp_path):
    return write(tmp_path, **PROJECT)


def test_modules_that_count(root):
    """The entry, direct, indirect and lazy imports, imports for type checkers, parent packages."""
    assert list(modules(root)) == COUNTED
    key = code_key({"": "classlens.job:f", "explain": "classlens.other:g"}, root)
    assert list(key.modules) == sorted([*COUNTED, "classlens.other"])
    assert {len(digest) for digest in key.modules.values()} == {16}
    assert len(key.code) == 64
    with pytest.raises(UnkeyableCode, match="there is no module"):
        reached(["classlens.gone"], root)


@pytest.mark.parametrize("name", [name for name in PROJECT if name != "__init__"])
def test_an_edit_counts_where_its_module_does(name, root):
    module = f"classlens.{name.removesuffix('/__init__').replace('/', '.')}"
    before = modules(root)
    write(root, **{name: f"{PROJECT[name]}CHANGED = 1\n"})
    after = modules(root)
    assert {name for name in before if before[name] != after[name]} == {module} & set(COUNTED)


TEXT = """
import math


class C:
    size = 1

    def m(self, x=2):
        return [x, math.pi]
"""
SAID = [
    f"# A comment.\n{TEXT}",
    f'"""The module."""\n{TEXT}',
    TEXT.replace("class C:", 'class C:\n    """The class."""\n'),
    TEXT.replace("size = 1", "size = 1\n    '''The attribute.'''"),
    TEXT.replace("x=2):", 'x=2):\n        """The method."""'),
    TEXT.replace("[x, math.pi]", "[\n            x,\n            math.pi,\n        ]  # here"),
]
DONE = [
    TEXT.replace("size = 1", "size = 2"),
    TEXT.replace("x=2", "x: int = 2"),
    TEXT.replace("[x, math.pi]", "[math.pi, x]"),
    TEXT.replace("math.pi]", "'math.pi']"),
]


@pytest.mark.parametrize(("edited", "counts"), [(text, False) for text in SAID] + [(text, True) for text in DONE])
def test_what_code_does_counts_and_what_is_said_about_it_does_not(edited, counts, root):
    before = modules(write(root, other=TEXT, job="from classlens.other import C\n"))
    assert (modules(write(root, other=edited)) != before) == counts


def test_neither_place_nor_order_counts(root, tmp_path):
    entries = ["classlens.other", "classlens.job", "classlens.lazy"]
    found = reached(entries, root)
    assert "classlens.other" in found[0]
    assert reached(reversed(entries), write(tmp_path / "further down", **PROJECT)) == found


def test_excluded_modules_count_as_entries_alone(root):
    excluded = reached(["classlens.job"], root, exclude=["classlens.measures"])
    assert list(excluded[0]) == [f"classlens.{name}" for name in ("below_errors", "direct", "errors", "job")]
    write(root, **{"measures/boxes": "import subprocess\n"})
    assert reached(["classlens.job"], root, exclude=["classlens.measures"]) == excluded
    assert list(reached(["classlens.errors"], root)[0]) == ["classlens.below_errors", "classlens.errors"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy as np\nimport scipy.stats\nfrom PIL import Image\n", {"numpy", "scipy", "PIL"}),
        ("def f():\n    from torch.nn import functional\n", {"torch"}),
        ("try:\n    import orjson as json\nexcept ImportError:\n    import json\n", {"orjson"}),
        ("from __future__ import annotations\nimport json, os.path\nfrom math import pi\n", set()),
        ("from classlens.other import y\nfrom classlens.errors import InputError\n", set()),
        ("from classlens.uses_pandas import read\n", {"pandas"}),
    ],
)
def test_libraries(text, expected, root):
    write(root, job=text, uses_pandas="from pandas import read_csv as read\n")
    assert reached(["classlens.job"], root)[1] == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from classlens.other import *", "star and relative imports hide what is used"),
        ("from .other import y", "star and relative imports hide what is used"),
        ("import classlens.other", "it imports the package classlens;"),
        ("from classlens import measures", "it imports the package classlens.measures;"),
        ("from classlens.measures.gone import f", "there is no module classlens.measures.gone"),
        ("f = [eval]", "eval runs code that cannot be followed"),
        ("import importlib.util", "importlib runs"),
        ("from importlib.resources import files", "importlib.resources finds files that the key does not hold"),
        ("def f(): import os as o; o.system('true')", "os.system runs"),
        ("from os import popen as p", "os.popen runs"),
        ("import numpy; f = numpy.linalg.__path__", "__path__ finds files"),
        ("f = (lambda: 1).__doc__", "__doc__ reads docstrings or source text"),
        ("f = (1", "no valid Python: "),
    ],
)
def test_refused(text, reason, root):
    """A row for each way to write it; which names are refused is a table of the module."""
    write(root, other=f"y = 1\n{text}\n", job="from classlens.other import y\n")
    with pytest.raises(UnkeyableCode) as caught:
        modules(root)
    assert str(caught.value).startswith(f"{root}/classlens/other.py, line 2: {reason}")


@pytest.mark.parametrize(
    "text",
    [
        "def f(model): return model.eval()",
        "import re, torch\nf = re.compile('a'), torch.compile",
        "from re import compile\nf = compile('a')",
        "import os.path, sys\nf = os.path.join('a', 'b'), sys.platform",
        "from classlens import other as o, progress\nf = o.y",
        "import classlens.other as o, classlens.errors as e\nf = o.y, e",
    ],
)
def test_not_refused(text, root):
    write(root, progress="", job=f"{text}\n")
    assert "classlens.job" in modules(root)


OWN = ["classlens.measures.boxes", "classlens.figures.logit_increment"]


def test_own_modules_have_a_key_that_does_not_depend_on_the_process():
    found = reached(OWN, CHECKOUT)
    assert set(OWN) <= set(found[0])
    assert not [module for module in found[0] if module.startswith(UNKEYED)]
    assert found[1]
    program = (
        "import sys; from pathlib import Path; from classlens.store.code import reached;"
        "print(reached(sys.argv[2:], Path(sys.argv[1]))[0])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program, str(CHECKOUT), *OWN]
    ran = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{found[0]}\n"


def test_the_package_itself_imports_nothing_of_the_project():
    """It does not count, as it only offers names to users."""
    tree = ast.parse((CHECKOUT / "classlens/__init__.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) for node in imports} <= {"__future__", "typing"}


@pytest.mark.parametrize("damage", [b"", b"{", b"x" * 5000])
def test_modules_are_read_once_and_again_where_what_was_kept_is_damaged(tmp_path, monkeypatch, damage):
    def read():
        parsed.clear()
        return modules(root), len(parsed)

    parsed, parse = [], code._parsed
    monkeypatch.setattr(code, "_parsed", lambda path: parsed.append(path) or parse(path))
    monkeypatch.setattr("classlens.store.memory.SETTLED_NS", 0)
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "project", **PROJECT)
    expected = modules(root)
    Path(".snakemake/classlens").mkdir(parents=True)
    assert read() == (expected, len(COUNTED))
    assert read() == (expected, 0)
    write(root, types="T = str\n")
    assert read() == (modules(root), 1)
    assert modules(root) != expected
    [kept] = Path(".snakemake/classlens").iterdir()
    kept.write_bytes(damage)
    write(root, types=PROJECT["types"])
    assert read()[0] == expected
