"""Jobs that share a process: what one does must not reach the results or the keys of another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow, copy_checkout

RUN = """
import json, runpy, sys
from types import SimpleNamespace
checkout, jobs = sys.argv[1], json.loads(sys.argv[2])
sys.path[:0] = [checkout, checkout + "/workflow/scripts"]
fake = SimpleNamespace(
    input={"source": "source.txt"}, output={"first": "first.txt", "second": "second.txt"}, wildcards={}, threads=1,
    config={"store": "store"}, log=["first.log", "second.log"], params=SimpleNamespace(jobs=jobs),
)
runpy.run_path(checkout + "/workflow/scripts/_batch.py", {"snakemake": fake})
"""
COMPUTE = """
from _adapter import run


def compute(inputs, outputs, config, local):
    from pathlib import Path
{body}


run(snakemake, compute)
"""
COPY = 'Path(outputs["result"]).write_text(Path(inputs["source"]).read_text())'
REFUSE = "from classlens.errors import InputError\n    raise InputError('no')"


@pytest.fixture
def batch(tmp_path):
    """Return a function that runs a batch of two jobs, given what each does."""
    checkout = copy_checkout(tmp_path / "checkout")
    working = tmp_path / "working"
    working.mkdir()
    (working / "source.txt").write_text("content")
    (checkout / "classlens/edited.py").write_text("VALUE = 'old'\n")

    def run(first, second):
        for name, body in {"first": first, "second": second}.items():
            text = COMPUTE.format(body=f"    {body}")
            (checkout / f"workflow/scripts/{name}.py").write_text(text)
        jobs = [
            {
                "name": name,
                "config": {},
                "local": {},
                "inputs": ["source"],
                "outputs": {"result": name},
                "wildcards": {},
            }
            for name in ("first", "second")
        ]
        command = [sys.executable, "-c", RUN, str(checkout), json.dumps(jobs)]
        return subprocess.run(command, cwd=working, capture_output=True, text=True, check=False), working

    return run


def records(working: Path) -> list[str]:
    store = Workflow(working, {}, store=working / "store").opened_store()
    return sorted(record.job for record in store.records())


def test_each_job_has_a_record_and_a_log(batch):
    # Not the same code: equal jobs share a record.
    ran, working = batch(COPY, f"{COPY}\n    assert outputs")
    assert ran.returncode == 0, ran.stderr
    assert (working / "second.txt").read_text() == "content"
    assert records(working) == ["first", "second"]
    assert "first: computing" in (working / "first.log").read_text()
    assert "second: computing" in (working / "second.log").read_text()
    ran, _ = batch(COPY, f"{COPY}\n    assert outputs")
    assert ran.returncode == 0
    assert "second: from the store" in (working / "second.log").read_text()


def test_code_that_changes_between_two_jobs_is_an_error(batch):
    """The second job's key would tell of the new code, while an earlier import may have loaded the old one."""
    edit = f"{COPY}\n    Path('../checkout/classlens/edited.py').write_text('VALUE = 1')"
    second = "from classlens.edited import VALUE\n    Path(outputs['result']).write_text(VALUE)"
    ran, working = batch(edit, second)
    assert ran.returncode != 0
    assert "code of second changed while other jobs of its batch ran" in ran.stderr
    assert records(working) == ["first"]


def test_a_job_that_fails_leaves_the_others_alone(batch):
    ran, working = batch(REFUSE, COPY)
    assert ran.returncode != 0
    assert not (working / "first.txt").exists()
    assert (working / "second.txt").read_text() == "content"
    assert records(working) == ["second"]
