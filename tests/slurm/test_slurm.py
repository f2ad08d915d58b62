"""The workflow through a real SLURM: two nodes with a GPU each, killed jobs, a drained node, hits without a GPU."""

import hashlib
import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest
from cluster import NODES, Cluster, missing
from conftest import TINY_MODEL, Workflow, copy_checkout
from made_data import write_packed
from slurm_run import SlurmRun, through_slurm
from studies import GOLDEN_CONFIG

from classlens.shipped import CACHE

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.release,
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]

CONFIG = {
    "datasets": GOLDEN_CONFIG["datasets"],
    "models": {
        "golden": {
            **GOLDEN_CONFIG["models"]["golden"],
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
def cluster():
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, Cluster(Path(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def runs(cluster, tmp_path_factory):
    """The same workflow, run locally and through SLURM."""
    checkout, images = copy_checkout(tmp_path_factory.mktemp("checkout")), tmp_path_factory.mktemp("images")
    write_packed(images)
    packed = {kind: {"kind": kind, "root": str(images / kind), "per_class": 3, "images_per_job": 5} for kind in PACKED}
    models = CONFIG["models"] | {kind: {**TINY_MODEL, "dataset": kind} for kind in PACKED}
    config = CONFIG | {"datasets": CONFIG["datasets"] | packed, "models": models}
    local = Workflow(tmp_path_factory.mktemp("local"), config, checkout)
    remote = Workflow(tmp_path_factory.mktemp("slurm"), config, checkout, environment=cluster.environment)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(local.run, *TARGETS)
        through_slurm(remote, *TARGETS)
        running.result()
    return local, remote


def contents(workflow):
    """Return path -> digest of all results; every file in results/ has to be one."""
    results = workflow.folder / "results"
    files = [path for path in results.glob("**/*") if path.is_file()]
    assert {path.suffix for path in files} <= SUFFIXES, files
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_results_are_those_of_a_local_run(runs):
    local, remote = runs
    expected = contents(local)
    assert {Path(name).suffix for name in expected} == SUFFIXES
    assert contents(remote) == expected


def test_shards_ran_on_both_nodes_and_no_two_jobs_at_once_on_one_device(runs):
    _, remote = runs
    records = [record for record in remote.opened_store().own.records() if record.job in GPU_JOBS]
    for job, files in (("extract", 1), ("perturb_attention", 3), ("attribute_logits", 1)):
        shards = [record for record in records if record.job == job]
        assert len(shards) == SHARDS * files
        assert {record.provenance["node"] for record in shards} == set(NODES)
    assert all(record.provenance["visible_devices"] is not None for record in records)

    spans = []
    for record in records:
        begin = datetime.fromisoformat(record.provenance["started"])
        device = record.provenance["node"], record.provenance["visible_devices"]
        spans.append((device, begin, begin + timedelta(seconds=record.provenance["seconds"])))
    for (device, begin, end), (other, other_begin, other_end) in combinations(spans, 2):
        assert device != other or end <= other_begin or other_end <= begin


def test_packed_data_sets_are_decoded_by_several_jobs(runs):
    _, remote = runs
    parts = [record for record in remote.opened_store().own.records() if record.job == "pixels_part"]
    assert [record.wildcards["dataset"] for record in parts].count("parquet") == len(parts) // 2 == 2


def test_jobs_without_gpu_got_none(runs):
    _, remote = runs
    others = [record for record in remote.opened_store().own.records() if record.job not in GPU_JOBS]
    assert len({record.job for record in others}) > 6
    assert {record.provenance["visible_devices"] for record in others} == {None}
    assert all(record.provenance["batch_job"] for record in others)


def test_kills_drains_and_requeues_end_in_the_same_bytes(cluster, runs, tmp_path):
    local, _ = runs
    workflow = Workflow(tmp_path, CONFIG, local.checkout, environment=cluster.environment)
    workflow.run(PIXELS, WEIGHTS)
    work = tmp_path / CACHE / "work"
    earlier = set(cluster.jobs())

    def computing():
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
    workflow.classlens("verify")


def pid_of(lock):
    """Return the process that holds a lock."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):  # of a process that has ended
            if os.readlink(link) == str(lock):
                return int(link.parts[2])
    return None


def slurm_job(pid):
    """Return the number of the job that a process belongs to."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((line.partition(b"=")[2].decode() for line in variables if line.startswith(b"SLURM_JOB_ID=")), None)


def test_what_the_store_has_waits_for_no_gpu(cluster, runs):
    _, remote = runs
    shutil.rmtree(remote.folder / "results")
    before = remote.computations()
    blocker = ("sbatch", "--parsable", "--gpus=1", "--output=/dev/null", "--wrap=sleep 600")
    blockers = [cluster.command(*blocker).strip() for _ in NODES]
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
