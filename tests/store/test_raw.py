"""The manifest that stands for a data set's files: when it gets a new time, and what it says."""

import os
import shutil
from pathlib import Path

import pytest

from classlens.errors import InputError
from classlens.params import JobParams
from classlens.store.job import job_of
from classlens.store.raw import list_raw

OLD = 1_000_000_000


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three raw files of long ago, with names that a scheduler takes for values, in a working directory."""
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "raw" / name for name in ("{a}.png", "b\n.png", "<c>.png")]
    paths[0].parent.mkdir()
    for place, path in enumerate(paths):
        path.write_text(f"{place}")
        os.utime(path, (OLD, OLD + place))
    return [str(path) for path in paths]


def test_a_new_manifest_is_as_old_as_its_newest_file(files, store):
    """Or a working directory whose .snakemake was deleted would make everything anew."""
    listed = list_raw("photos_images", files, store)
    assert listed.paths == files
    assert Path(listed.manifest).read_text() == f"3 files\n{listed.digest}\n"
    assert Path(listed.manifest).stat().st_mtime == OLD + 2


def test_it_gets_a_new_time_for_new_contents_alone(files, store):
    first = list_raw("photos_images", files, store)
    before = Path(first.manifest).stat().st_mtime_ns
    os.utime(files[0])
    assert list_raw("photos_images", files, store) == first
    assert Path(first.manifest).stat().st_mtime_ns == before
    other = Path(files[0]).with_name("other")
    shutil.copy(files[1], other)
    os.utime(other, (1, 1))
    other.replace(files[0])
    second = list_raw("photos_images", files, store)
    assert second.digest != first.digest
    assert Path(first.manifest).stat().st_mtime > OLD + 10
    assert list_raw("photos_images", files[:2], store).digest != second.digest


def test_files_that_are_gone_are_named(files, store):
    Path(files[1]).unlink()
    with pytest.raises(InputError, match=r"b\n\.png: there is no such file; restore it"):
        list_raw("photos_images", files, store)
    Path(files[2]).unlink()
    with pytest.raises(InputError, match=r"b\n\.png and 1 more of 3: there is no such file"):
        list_raw("photos_images", files, store)


def test_a_job_gets_the_files_themselves(files, tmp_path):
    described = {"name": "stimuli", "functions": {}, "config": {}, "local": {}, "wildcards": {}}
    params = JobParams(described, key="k", raw="digest", raw_files={"raw": files})
    job = job_of(params, {"raw": "manifest.txt", "table": "t.csv"}, {"table": "results/t.csv"}, tmp_path)
    assert job.inputs == {"raw": files, "table": "t.csv"}
    assert str(params) == "stimuli k digest"  # what the scheduler compares and stores
