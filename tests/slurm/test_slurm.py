"""The workflow through a real SLURM: two nodes with a GPU each, killed jobs, a drained node, hits without a GPU."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cluster import NODES, Cluster, missing
from conftest import GOLDEN, TINY_MODEL, Workflow, copy_checkout
from made_data import write_packed
from slurm_run import SlurmRun, through_slurm

from classlens.cache import CACHE
from classlens.store.folder import Record
from classlens.store.store import Store

pytestmark = [pytest.mark.workflow, pytest.mark.release]
needs_slurm = pytest.mark.skipif(missing() is not None, reason=missing() or "")

CONFIG: dict[str, Any] = {
    "datasets": {
        "golden": {
            "kind": "imagenet_s",
            "root": str(GOLDEN / "imagenet_s"),
            "per_class": 5,
            "token_labels": "corner",
        }
    },
    "models": {
        "golden": {
            "dataset": "golden",
            "architecture": "vit_base_patch32_224",
            "options": {"embed_dim": 48, "depth": 12, "num_heads": 3},
            "transform": {"size": 224},
            "weights": str(GOLDEN / "model.safetensors"),
            "random_twin": False,
            "analyses": ["class_building", "attention_perturbation"],
        },
    },
    # Four shards for two GPUs. One thread, since sums split over another number of threads round differently.
    "extraction": {"shard_size": 8, "threads": 1},
    "statistics": {"resamples": 99},
}
PACKED = ("webdataset", "parquet")
GPU_JOBS = ("extract", "perturb_attention", "attribute_logits")
SHARDS = 4
SUFFIXES = {".h5", ".csv", ".png", ".svg", ".safetensors"}
PIXELS = "results/datasets/golden/squash-224-bilinear/evaluation.h5"
WEIGHTS = "results/golden/weights.safetensors"
OUTPUT = "results/golden/output.h5"
"""Made together with all layer files, from all shards."""
TARGETS = ["results/figures/class_building_golden.svg", "results/tables/attention_perturbation.csv"]
TARGETS += ["results/golden/attribution/logit.h5"]
TARGETS += [f"results/datasets/{kind}/squash-16-bilinear/evaluation.h5" for kind in PACKED]
"""They need a job of every group, every kind of file, shards of several jobs, and data sets decoded in parts."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, Cluster(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def runs(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, Workflow]:
    """The same workflow, run locally and through SLURM."""
    checkout, images = copy_checkout(tmp_path_factory.mktemp("checkout")), tmp_path_factory.mktemp("images")
    write_packed(images)
    packed = {kind: {"kind": kind, "root": str(images / kind), "per_class": 3, "images_per_job": 5} for kind in PACKED}
    config = {
        **CONFIG,
        "datasets": CONFIG["datasets"] | packed,
        "models": CONFIG["models"] | {kind: {**TINY_MODEL, "dataset": kind} for kind in PACKED},
    }
    local = Workflow(tmp_path_factory.mktemp("local"), config, checkout)
    remote = Workflow(tmp_path_factory.mktemp("slurm"), config, checkout, environment=cluster.environment)
    with ThreadPoolExecutor(2) as both:
        running = [both.submit(local.run, *TARGETS), both.submit(through_slurm, remote, *TARGETS)]
        for one in running:
            one.result()
    return local, remote


def contents(workflow: Workflow) -> dict[str, str]:
    """Return path -> digest of all results; every file in results/ has to be one."""
    results = workflow.folder / "results"
    files = [path for path in results.glob("**/*") if path.is_file()]
    assert {path.suffix for path in files} <= SUFFIXES, files
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def gpu_records(store: Store) -> list[Record]:
    return [record for record in store.own.records() if record.job in GPU_JOBS]


def span(record: Record) -> tuple[datetime, datetime]:
    begin = datetime.fromisoformat(record.provenance["started"])
    return begin, begin + timedelta(seconds=record.provenance["seconds"])


def overlap(one: Record, other: Record) -> bool:
    (begin, end), (other_begin, other_end) = span(one), span(other)
    return begin < other_end and other_begin < end


@needs_slurm
def test_results_are_those_of_a_local_run(runs: tuple[Workflow, Workflow]) -> None:
    local, remote = runs
    expected = contents(local)
    assert {Path(name).suffix for name in expected} == SUFFIXES
    assert contents(remote) == expected


@needs_slurm
def test_shards_ran_on_both_nodes_and_no_two_jobs_at_once_on_one_device(runs: tuple[Workflow, Workflow]) -> None:
    _, remote = runs
    records = gpu_records(remote.opened_store())
    for job, files in (("extract", 1), ("perturb_attention", 3), ("attribute_logits", 1)):
        shards = [record for record in records if record.job == job]
        assert len(shards) == SHARDS * files
        assert {record.provenance["node"] for record in shards} == set(NODES)
    assert all(record.provenance["visible_devices"] is not None for record in records)

    def device(record: Record) -> tuple[str, str]:
        return record.provenance["node"], record.provenance["visible_devices"]

    assert not [pair for pair in combinations(records, 2) if device(pair[0]) == device(pair[1]) and overlap(*pair)]


@needs_slurm
def test_packed_data_sets_are_decoded_by_several_jobs(runs: tuple[Workflow, Workflow]) -> None:
    _, remote = runs
    parts = [record for record in remote.opened_store().own.records() if record.job == "pixels_part"]
    assert [record.wildcards["dataset"] for record in parts].count("parquet") == len(parts) // 2 == 2


@needs_slurm
def test_jobs_without_gpu_got_none(runs: tuple[Workflow, Workflow]) -> None:
    _, remote = runs
    others = [record for record in remote.opened_store().own.records() if record.job not in GPU_JOBS]
    assert len({record.job for record in others}) > 6
    assert {record.provenance["visible_devices"] for record in others} == {None}
    assert all(record.provenance["batch_job"] for record in others)


@needs_slurm
def test_kills_drains_and_requeues_end_in_the_same_bytes(
    cluster: Cluster, runs: tuple[Workflow, Workflow], tmp_path: Path
) -> None:
    local, _ = runs
    workflow = Workflow(tmp_path, CONFIG, local.checkout, environment=cluster.environment)
    workflow.run(PIXELS, WEIGHTS)
    work = tmp_path / CACHE / "work"
    earlier = set(cluster.jobs())

    def computing() -> tuple[int, str] | None:
        """Return the process of a shard under way, and the number of its job."""
        for lock in work.glob("*.lock"):
            pid = pid_of(lock)
            number = slurm_job(pid) if pid else None
            if pid and number and cluster.jobs("RUNNING").get(number):
                return pid, number
        return None

    with SlurmRun(workflow, OUTPUT) as run:
        # A process dies while it computes.
        pid, killed = run.wait_for(computing)
        os.kill(pid, signal.SIGKILL)
        assert run.wait_for(lambda: cluster.jobs("FAILED").get(killed))
        # A user cancels a job.
        _, cancelled = run.wait_for(computing)
        cluster.command("scancel", cancelled)
        assert run.wait_for(lambda: cluster.jobs("CANCELLED").get(cancelled))
        # A node is taken out of service, and a job of it is sent back to the queue.
        _, requeued = run.wait_for(computing)
        node = cluster.command("squeue", "--noheader", f"--jobs={requeued}", "--format=%N").strip()
        cluster.command("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        cluster.command("scontrol", "requeue", requeued)
        assert run.wait_for(lambda: cluster.jobs("PENDING").get(requeued))
        cluster.command("scontrol", "update", f"nodename={node}", "state=resume")
        # Two retries may be too few for one unlucky job; another run then finishes.
        if not run.succeeds():
            through_slurm(workflow, OUTPUT)
    submitted = set(cluster.jobs()) - earlier
    assert len(submitted) >= SHARDS + len(["gather"]) + 2, "two jobs were submitted again"
    found = contents(workflow)
    assert OUTPUT.removeprefix("results/") in found
    assert found == {name: digest for name, digest in contents(local).items() if name in found}
    verified = subprocess.run(
        [sys.executable, "-m", "classlens", "store", "verify"], cwd=tmp_path, env=workflow.environ(), check=False
    )
    assert verified.returncode == 0


def pid_of(lock: Path) -> int | None:
    """Return the process that holds a lock."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # of a process that has ended
            if os.readlink(link) == str(lock):
                return int(link.parts[2])
    return None


def slurm_job(pid: int) -> str | None:
    """Return the number of the job that a process belongs to."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((line.partition(b"=")[2].decode() for line in variables if line.startswith(b"SLURM_JOB_ID=")), None)


@needs_slurm
def test_what_the_store_has_waits_for_no_gpu(cluster: Cluster, runs: tuple[Workflow, Workflow]) -> None:
    _, remote = runs
    shutil.rmtree(remote.folder / "results")
    before = remote.computations()
    blockers = [
        cluster.command("sbatch", "--parsable", "--gpus=1", "--output=/dev/null", "--wrap=sleep 600").strip()
        for _ in NODES
    ]
    try:
        wait_until = time.monotonic() + 30
        while set(blockers) - set(cluster.jobs("RUNNING")):
            assert time.monotonic() < wait_until, "not both GPUs could be taken"
            time.sleep(0.2)
        # One core a job: each node has one left.
        through_slurm(remote, "--cores", "1", OUTPUT)
        assert set(blockers) <= set(cluster.jobs("RUNNING")), "both GPUs were taken all the time"
    finally:
        cluster.command("scancel", *blockers)
    assert remote.computations() == before


def test_why_no_cluster_can_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, path=None: None if program == "slurmctld" else program)
    assert "slurm-wlm" in str(missing())
    monkeypatch.setattr(shutil, "which", lambda program, path=None: program)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in str(missing())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert missing() is None
