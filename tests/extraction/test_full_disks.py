"""A disk that fills up under real jobs, in the store and under results/: nothing half done stays."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from double_job import job_of, refuse
from figures.figure_cases import increment_table, written
from tiny_transformers import GOLDEN_NETWORK, RUNNING, golden_pixels, golden_weights

from classlens.digest import digest_file
from classlens.errors import InputError
from classlens.figures import logit_increment
from classlens.figures.run import draw_figure
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.run import run_pass
from classlens.store.job import run_job
from classlens.store.store import Store
from classlens.store.workdir import WORK

MODELS = {"small": 2, "large": 3}


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, and what gives it another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if not mount("size=64m"):
        pytest.skip("needs to mount a file system")
    yield folder, lambda size: mount(f"remount,size={size}")
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("shard") / "0.h5"
    _extract({}, {"rows": str(path)}, {}, {})
    return path


def _extract(inputs, outputs, config, local):
    given = {"of": Extraction, "start": 0, "stop": 8, "batch_size": 4, **GOLDEN_NETWORK, **RUNNING}
    return run_pass(golden_pixels(), golden_weights(), **outputs, **given)


def _gather(inputs, outputs, config, local):
    gather([inputs["source"]], outputs["layers"], outputs["output"])


def _draw(inputs, outputs, config, local):
    models = {"models": [[name, name] for name in MODELS]}
    draw_figure(**outputs, draw=logit_increment.draw, settings=models, table=inputs["source"])


def real_job(kind, project, shard, folder):
    """A job of the workflow, what computes it, and how much it writes at least, in kB."""
    table = written(increment_table(MODELS), folder / "table.csv")
    layers = [f"results/layers/{block:02d}.h5" for block in range(12)]
    source, outputs, work, size = {
        "extraction": ("source.txt", {"rows": "results/0.h5"}, _extract, 200),
        "gathering": (str(shard), {"layers": layers, "output": "results/output.h5"}, _gather, 200),
        "a figure": (table, {"svg": "results/a.svg", "png": "results/a.png"}, _draw, 20),
    }[kind]
    return replace(job_of(project, source=source), outputs=outputs), work, size


def digests():
    return [digest_file(path) for path in sorted(Path("results").rglob("*")) if path.is_file()]


@pytest.mark.parametrize(
    ("kind", "place"),
    [("extraction", "the store"), ("gathering", "the store"), ("gathering", "results"), ("a figure", "the store")],
)
def test_a_disk_that_fills_up(kind, place, project, shard, disk, tmp_path):
    job, work, size = real_job(kind, project, shard, tmp_path)
    folder, resize = disk
    if place == "the store":
        store = Store(folder / "store")
    else:
        store = Store(tmp_path / "store")
        (folder / "results").mkdir()
        Path("results").symlink_to(folder / "results")
    used = subprocess.run(["du", "-sk", folder], capture_output=True, text=True, check=True).stdout
    assert resize(f"{int(used.split()[0]) + size // 2}k")
    with pytest.raises(InputError, match=r"is full: .* make room"):
        run_job(job, work, store)
    assert len(list(store.own.records())) == (place == "results")
    assert [path for path in Path("results").rglob("*") if path.is_file() and path.stat().st_size == 0] == []
    assert resize("64m")
    assert run_job(job, work if place == "the store" else refuse, store) == (place == "the store")
    assert list(WORK.iterdir()) == []
    if place == "the store":
        found = digests()
        run_job(job, work, Store(tmp_path / "other"))
        assert digests() == found
