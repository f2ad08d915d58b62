"""Which code a job runs: any edit that can change its result changes the fingerprint of its modules."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CHECKOUT

from classlens.store.code import UNKEYED, Fingerprint, UnkeyableCode, fingerprint

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
COUNTED = ["direct", "job", "lazy", "measures", "measures.boxes", "types"]


def write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / f"classlens/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def code(root: Path) -> Fingerprint:
    return fingerprint(["classlens.job"], root)


@pytest.fixture
def root(tmp_path):
    return write(tmp_path, **PROJECT)


def test_modules_that_count(root):
    """The entry, direct, indirect and lazy imports, imports for type checkers, parent packages."""
    found = code(root)
    assert list(found.modules) == [f"classlens.{name}" for name in COUNTED]
    assert {len(digest) for digest in found.modules.values()} == {16}
    assert len(found.digest) == 64


@pytest.mark.parametrize("name", [name for name in PROJECT if name != "__init__"])
def test_an_edit_counts_where_its_module_does(name, root):
    module = name.removesuffix("/__init__").replace("/", ".")
    before = code(root)
    write(root, **{name: f"{PROJECT[name]}CHANGED = 1\n"})
    after = code(root)
    changed = {name for name in before.modules if before.modules[name] != after.modules[name]}
    assert changed == ({f"classlens.{module}"} if module in COUNTED else set())
    assert (before.digest != after.digest) == (module in COUNTED)


TEXT = """
import math


class C:
    size = 1

    def m(self, x=2):
        return [x, math.pi]
"""


@pytest.mark.parametrize(
    "edited",
    [
        f"# A comment.\n{TEXT}",
        f'"""The module."""\n{TEXT}',
        TEXT.replace("class C:", 'class C:\n    """The class."""\n'),
        TEXT.replace("size = 1", "size = 1\n    '''The attribute.'''"),
        TEXT.replace("x=2):", 'x=2):\n        """The method."""'),
        TEXT.replace("[x, math.pi]", "[\n            x,\n            math.pi,\n        ]  # here"),
    ],
    ids=["comment", "module", "class", "attribute", "function", "formatting"],
)
def test_what_is_said_about_code_does_not_count(edited, root):
    before = code(write(root, other=TEXT, job="from classlens.other import C\n"))
    assert code(write(root, other=edited)) == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("size = 1", "size = 2"), ("x=2", "x: int = 2"), ("[x, math.pi]", "[math.pi, x]"), ("math.pi]", "'math.pi']")],
)
def test_what_code_says_counts(old, new, root):
    before = code(write(root, other=TEXT, job="from classlens.other import C\n"))
    assert code(write(root, other=TEXT.replace(old, new))).digest != before.digest


def test_an_edit_that_keeps_size_and_time_is_seen(root):
    file = root / "classlens/lazy.py"
    stat, before = file.stat(), code(root)
    file.write_text(PROJECT["lazy"].replace("1", "2"))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert code(root) != before


def test_neither_place_nor_order_counts(root, tmp_path):
    entries = ["classlens.other", "classlens.job", "classlens.lazy"]
    found = fingerprint(entries, root)
    assert "classlens.other" in found.modules
    assert fingerprint(reversed(entries), write(tmp_path / "further down", **PROJECT)) == found


def test_excluded_modules_do_not_count(root):
    before = fingerprint(["classlens.job"], root, exclude=["classlens.measures"])
    assert list(before.modules) == [f"classlens.{name}" for name in ("below_errors", "direct", "errors", "job")]
    write(root, **{"measures/boxes": "import subprocess\n"})
    assert fingerprint(["classlens.job"], root, exclude=["classlens.measures"]) == before


def test_an_entry_counts_though_it_is_excluded(root):
    assert list(fingerprint(["classlens.errors"], root).modules) == ["classlens.below_errors", "classlens.errors"]


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
    ids=["used", "lazy", "one or the other", "standard library", "project", "indirect"],
)
def test_libraries(text, expected, root):
    assert code(write(root, job=text, uses_pandas="from pandas import read_csv as read\n")).libraries == expected


HIDING = "star and relative imports hide what is used"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from classlens.other import *", HIDING),
        ("from .other import y", HIDING),
        ("import classlens", "it imports the package classlens;"),
        ("import classlens.other", "it imports the package classlens;"),
        ("from classlens import Results", "it imports the package classlens;"),
        ("from classlens import measures", "it imports the package classlens.measures;"),
        ("import classlens.gone as g", "there is no module classlens.gone"),
        ("from classlens.measures.gone import f", "there is no module classlens.measures.gone"),
        ("f = eval('1')", "eval runs code that cannot be followed"),
        ("exec('y = 1')", "exec runs"),
        ("f = compile('1', '', 'eval')", "compile runs"),
        ("f = __import__('classlens.other')", "__import__ runs"),
        ("f = globals()['y']", "globals runs"),
        ("f = [locals]", "locals runs"),
        ("f = vars(object)", "vars runs"),
        ("f = __builtins__", "__builtins__ runs"),
        ("import builtins", "builtins runs"),
        ("import importlib.util", "importlib runs"),
        ("from importlib import import_module", "importlib runs"),
        ("from importlib.resources import files", "importlib.resources finds files that the key does not hold"),
        ("import runpy as r", "runpy runs"),
        ("from pkgutil import walk_packages", "pkgutil runs"),
        ("from subprocess import run", "subprocess runs"),
        ("def f(): import os as o; o.system('true')", "os.system runs"),
        ("from os import popen as p", "os.popen runs"),
        ("import sys; f = sys.modules[__name__]", "sys.modules runs"),
        ("import sys; sys.path.insert(0, 'x')", "sys.path runs"),
        ("from sys import meta_path", "sys.meta_path runs"),
        ("f = __file__", "__file__ finds files"),
        ("import numpy; f = numpy.linalg.__path__", "__path__ finds files"),
        ("f = __doc__", "__doc__ reads docstrings or source text"),
        ("f = (lambda: 1).__doc__", "__doc__ reads"),
        ("import inspect; f = inspect.getsource(inspect)", "inspect.getsource reads"),
        ("from inspect import getsourcelines", "inspect.getsourcelines reads"),
        ("f = (1", "no valid Python: "),
    ],
)
def test_refused(text, reason, root):
    write(root, other=f"y = 1\n{text}\n", job="from classlens.other import y\n")
    with pytest.raises(UnkeyableCode) as caught:
        code(root)
    assert str(caught.value).startswith(f"{root}/classlens/other.py, line 2: {reason}")


@pytest.mark.parametrize(
    "text",
    [
        "def f(model): return model.eval()",
        "import re, torch\nf = re.compile('a'), torch.compile",
        "from re import compile\nf = compile('a')",
        "import os.path, sys\nf = os.path.join('a', 'b'), sys.platform",
        "import pandas\nf = pandas.DataFrame().eval('a').path",
        "from classlens import other as o, progress\nf = o.y",
        "import classlens.other as o, classlens.errors as e\nf = o.y, e",
    ],
)
def test_not_refused(text, root):
    write(root, progress="", job=f"{text}\n")
    assert "classlens.job" in code(root).modules


def test_an_entry_that_does_not_exist(root):
    with pytest.raises(UnkeyableCode, match="there is no module"):
        fingerprint(["classlens.gone"], root)


OWN = ["classlens.measures.boxes", "classlens.figures.logit_increment"]


@pytest.mark.parametrize("name", OWN)
def test_own_modules_have_a_key(name):
    found = fingerprint([name], CHECKOUT)
    assert name in found.modules
    assert not [module for module in found.modules if module.startswith(UNKEYED)]
    assert found.libraries


def test_fingerprints_do_not_depend_on_the_process():
    program = (
        "import sys; from pathlib import Path; from classlens.store.code import fingerprint;"
        "print(fingerprint(sys.argv[2:], Path(sys.argv[1])))"
    )
    found = fingerprint(OWN, CHECKOUT)
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", program, str(CHECKOUT), *OWN]
    ran = subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert found.digest in ran.stdout


def test_the_package_itself_imports_nothing_of_the_project():
    """It does not count, as it only offers names to users."""
    tree = ast.parse((CHECKOUT / "classlens/__init__.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {getattr(node, "module", None) for node in imports} <= {"__future__", "typing"}


READ = """
import sys
from pathlib import Path
from classlens.store import code
from classlens.store.code import fingerprint
code.remember()
known = len(code._known)
found = fingerprint(["classlens.job"], Path(sys.argv[1]))
print(known, len(code._known), found.digest)
"""


@pytest.mark.parametrize("damage", ["", "{", '{"reader": "other", "modules": {}}', '{"reader": 1}', "[]"])
def test_modules_are_read_once_and_again_where_what_was_kept_is_damaged(tmp_path, damage):
    def read():
        command = [sys.executable, "-c", READ, str(root)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        before, after, digest = ran.stdout.split()
        return int(before), int(after), digest

    root, kept = write(tmp_path / "project", **PROJECT), tmp_path / ".snakemake/classlens/modules.json"
    kept.parent.mkdir(parents=True)
    expected, texts = code(root).digest, len({PROJECT.get(name, PROJECT.get(f"{name}/__init__")) for name in COUNTED})
    assert read() == (0, texts, expected)
    assert read() == (texts, texts, expected)
    if damage:
        kept.write_text(damage)
        assert read() == (0, texts, expected)
    write(root, types="T = str\n")
    assert read() == (texts, texts + 1, code(root).digest)
    assert code(root).digest != expected
