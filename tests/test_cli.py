"""The command line, in this process, on a small store whose records name real jobs."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from conftest import CHECKOUT, copy_checkout
from declared_jobs import explicit_rules
from typer.testing import CliRunner

from classlens import cli
from classlens.catalog import plan
from classlens.catalog.configs import read_config
from classlens.catalog.plan import describe
from classlens.catalog.reference import MADE_FILES, reference
from classlens.check.findings import Findings
from classlens.configfile import find_config, keep_config
from classlens.store import gc
from classlens.store.code import Known
from classlens.store.job import job_of, run_job
from classlens.store.store import STORE_VARIABLE, Store
from classlens.store.verify import verify_workdir

TABLE = "results/datasets/digits/stimuli.csv"
DECLARED = explicit_rules()
PIXELS = "results/datasets/digits/squash-16-bilinear/evaluation.h5"
pytestmark = pytest.mark.usefixtures("described_here")


@pytest.fixture
def runner(monkeypatch):
    monkeypatch.delenv(STORE_VARIABLE, raising=False)
    runner = CliRunner()

    def run(*arguments, ok=True):
        """Return the output; `ok` may be a status, else any is meant that is zero, or is not."""
        done = runner.invoke(cli.app, [str(argument) for argument in arguments])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert (done.exit_code == 0) == ok if isinstance(ok, bool) else done.exit_code == ok, done.output
        return done.output

    return run


@pytest.fixture
def working(tmp_path, monkeypatch):
    """A working directory with a config; commands without --directory are about it."""
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_config()
    return folder


def write_config(**dataset):
    digits = {"kind": "digits", "per_class": 2, **dataset}
    models = {"vit": {"dataset": "digits", "architecture": "vit_tiny_patch16_224"}}
    Path("config.yaml").write_text(yaml.safe_dump({"datasets": {"digits": digits}, "models": models}))


def run(name, inputs, outputs, wildcards, store, root=CHECKOUT, content=None):
    """Run a job of the workflow through the store; what it computes is made up."""

    def compute(inputs, outputs, config, local):
        for output in outputs.values():
            for path in [output] if isinstance(output, str) else output:
                Path(path).write_text(content or f"{name} {json.dumps(config)} {list(inputs)} {Path(path).name}")
        return {"device": "abacus"} if name == "pixels" else None

    params = describe(DECLARED[name][0], read_config("config.yaml"), wildcards, root) | {"local": {}}
    run_job(job_of(params, inputs, outputs, root), compute, store)


def make(store, root=CHECKOUT, content=None):
    """Make the table of a data set, and the pixels from it."""
    run("stimuli", {"raw": ["raw.txt"]}, {"table": TABLE}, {"dataset": "digits"}, store, root, content)
    wildcards = {"dataset": "digits", "geometry": "squash-16-bilinear", "split": "evaluation"}
    run("pixels", {"stimuli": TABLE}, {"pixels": PIXELS}, wildcards, store, root)


@pytest.fixture
def store(working):
    Path("raw.txt").write_text("raw")
    store = Store(working / ".classlens")
    make(store)
    return store


@pytest.fixture
def said(runner):
    """What `classlens store` prints."""
    return lambda *arguments, ok=True: runner("store", *arguments, "--configfile", "config.yaml", ok=ok)


def test_config_reference_writes_what_follows_from_the_schema(runner, working):
    assert runner("config-reference") == reference()
    for path in MADE_FILES:
        (working / path).parent.mkdir(exist_ok=True)
    assert runner("config-reference", "--write") == ""
    for path, make in MADE_FILES.items():
        assert (working / path).read_text(encoding="utf-8") == make()
    shutil.rmtree(working / "docs")
    assert "there is no folder docs here; go to the checkout" in runner("config-reference", "--write", ok=False)


def test_list(said, store):
    os.utime(store.own.action(next(store.own.records()).key), (1, 1))
    oldest = next(store.own.records())
    lines = said("list").splitlines()
    assert len(lines) == 3
    assert oldest.key[:12] in lines[0]
    assert float(lines[0].split()[0]) > 10_000
    assert [line.split()[-1] for line in lines[:2]].count("digits") == 1
    assert "pixels digits squash-16-bilinear evaluation" in "\n".join(lines)
    size = sum(output.size for record in store.own.records() for output in record.outputs)
    assert lines[2] == f"2 blobs, {size} B, in {store.root}"
    for per_class in (3, 4):  # a shared blob counts once
        write_config(per_class=per_class)
        run("stimuli", {"raw": ["raw.txt"]}, {"table": TABLE}, {"dataset": "digits"}, store, content="equal")
    assert len(said("list").splitlines()) == 5
    assert said("list").splitlines()[-1].startswith("3 blobs, ")


def test_an_empty_store(said, working):
    (working / ".classlens").mkdir()
    assert said("list") == f"0 blobs, 0 B, in {working}/.classlens\n"
    assert said("verify") == "0 damaged blobs, 0 damaged results\n"
    assert said("gc") == "took 0 records and 0 blobs, 0 B\n"


def test_sizes():
    sizes = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 1549: "1.5 kB", 2_000_000: "2.0 MB", 3.21e9: "3.2 GB"}
    for count, text in (sizes | {4.5e12: "4.5 TB", 6e15: "6000.0 TB"}).items():
        assert cli.written_size(count) == text


# Which store


@pytest.mark.parametrize("command", [["list"], ["verify"], ["gc"], ["explain", TABLE], ["provenance", TABLE]])
def test_no_store(said, working, command):
    place = f"{working}/.classlens"
    told = f"error: there is no store at {place}; run the workflow first, or name one with --store\n"
    assert said(*command, ok=False) == told


def test_the_store_is_that_of_option_environment_or_config(said, runner, store, monkeypatch, tmp_path):
    working, config = Path.cwd(), Path("config.yaml").read_text()
    store.root.rename("elsewhere")
    Path("config.yaml").write_text(f"{config}store: elsewhere\n")
    assert said("list").endswith(f"in {working}/elsewhere\n")
    Path("config.yaml").unlink()
    monkeypatch.setenv(STORE_VARIABLE, "elsewhere")
    assert said("list").endswith(f"in {working}/elsewhere\n")
    # As for the workflow, a relative one is relative to the working directory.
    monkeypatch.chdir(tmp_path)
    assert runner("store", "list", "--directory", working).endswith(f"in {working}/elsewhere\n")
    monkeypatch.setenv(STORE_VARIABLE, "nowhere")
    assert said("list", "--store", working / "elsewhere").endswith(f"in {working}/elsewhere\n")


def test_paths_on_the_command_line_are_relative_to_where_it_is_typed(runner, store, monkeypatch, tmp_path):
    (store.root.parent / "config.yaml").rename(tmp_path / "my.yaml")
    monkeypatch.chdir(tmp_path)
    for command in (["list"], ["explain", TABLE], ["provenance", PIXELS]):
        options = ("--configfile", "my.yaml", "--directory", "working")
        expected = runner("store", *command, *options)
        monkeypatch.chdir(tmp_path)
        assert runner("store", *command, *options, "--store", "working/.classlens") == expected
        monkeypatch.chdir(tmp_path)
    assert "would not be computed" in runner("store", "explain", TABLE, *options)


@pytest.fixture
def checked(runner, working, monkeypatch):
    """Give what checks a config with findings and a plan that are made up; `seen` says of what these are."""
    seen = []

    def check(findings, *options, planned=(0, "total   12\n"), ok=True):
        def plan(command, env, **_):
            assert "--dry-run" in command
            seen.append(env.get(STORE_VARIABLE))
            return subprocess.CompletedProcess(command, *planned, "Using profile\n")

        def look_over(config, quick):
            seen.append((config, quick))
            return findings

        monkeypatch.setattr("classlens.check.findings.check", look_over)
        monkeypatch.setattr(cli.subprocess, "run", plan)
        return runner("check", *options, ok=ok).splitlines()

    check.seen = seen
    return check


def test_check_looks_at_the_store_that_is_named(checked, working, monkeypatch, tmp_path):
    expected = "jobs: 12 to start; those that the store knows end at once"
    found = checked(Findings(notes=["a note"]), "config.yaml")
    assert found == ["a note", expected, f"{working}/config.yaml is fine"]
    monkeypatch.setenv(STORE_VARIABLE, "mine")
    checked(Findings(), "config.yaml")
    monkeypatch.chdir(tmp_path)
    checked(Findings(), "working/config.yaml", "--quick", "--directory", "working", "--store", "other")
    stores, config = (None, "mine", str(tmp_path / "other")), working / "config.yaml"
    assert checked.seen[1::2] == [*stores]
    assert checked.seen[::2] == [(config, False), (config, False), (config, True)]


def test_check_where_the_workflow_cannot_be_planned(checked):
    printed = 'Building DAG\nTypeError in file "common.smk", line 3:\nno such thing\n  File "x.smk", line 1\n'
    assert checked(Findings(), "config.yaml", planned=(1, printed), ok=False) == [
        "jobs: unknown",
        'error: the workflow cannot be planned: TypeError in file "common.smk", line 3:',
        "error: the workflow cannot be planned: no such thing",
    ]


@pytest.mark.parametrize(
    ("findings", "status", "last"),
    [
        (Findings(), 0, "config.yaml is fine"),
        (Findings(notes=["a note"], doubts=["one", "two"]), 3, "doubt: two"),
        (Findings(["wrong", "and wrong"], doubts=["one"]), 1, "error: and wrong"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--quick"]])
def test_check_is_fine_only_without_doubts_and_refusals(checked, findings, status, last, options):
    lines = checked(findings, "config.yaml", *options, ok=status)
    assert any(" is fine" in line for line in lines) == (status == 0)
    assert ("no image or mask was decoded" in lines[-1]) == (status == 0 and bool(options))
    assert last in lines[-1]
    assert all(f"error: {problem}" in lines for problem in findings.problems)
    # Also before what may be many lines.
    assert lines.count("doubt: one") == (2 if findings.notes else len(findings.doubts[:1]))


def test_home_is_expanded_on_the_command_line(checked, working, monkeypatch):
    monkeypatch.setenv("HOME", str(working))
    (working / "study").mkdir()
    checked(Findings(["x"]), "~/my.yaml", "--directory=~/study", ok=False)
    assert (checked.seen, Path.cwd()) == ([(working / "my.yaml", False)], working / "study")
    monkeypatch.setattr(cli.os, "execv", lambda _, command: checked.seen.append(command[-3:]))
    CliRunner().invoke(cli.app, ["run", "--directory=~/study", "-d", "~"])
    assert checked.seen[1] == [f"--directory={working}/study", "-d", str(working)]


SNAKEMAKE = """import sys, time
try:
    print("runs", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)  # longer than Python waits for a child that got the same signal
    sys.exit(7)
"""


def test_snakemake_gets_the_time_it_takes_to_stop(working):
    """Ctrl-C reaches the whole group of processes; the status is Snakemake's."""
    code = f"from classlens import cli; cli.snakemake = lambda: {[sys.executable, '-c', SNAKEMAKE]}; cli.app()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "run"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as ran:
        assert ran.stdout.readline() == "runs\n"
        os.killpg(ran.pid, signal.SIGINT)
        assert ran.wait(30) == 7


def test_what_cannot_be_read_is_named(said, runner, store, monkeypatch):
    for command in (["store", "list"], ["store", "list", "--store", store.root], ["check"]):
        assert runner(*command, "--directory", "nowhere", ok=False) == "error: there is no directory nowhere\n"
    actions = store.own.path / "actions"
    denied = PermissionError(errno.EACCES, "Permission denied", str(actions))
    with monkeypatch.context() as patched:
        patched.setattr("classlens.store.folder.os.listdir", Mock(side_effect=denied))
        told = said("list", ok=False)
        assert told.startswith(f"error: {actions}: permission denied; {actions} has owner ")
    told = runner("store", "list", "--configfile", "nowhere.yaml", ok=False)
    assert told.startswith("error: config file ")
    assert "nowhere.yaml" in told
    Path("config.yaml").write_text("models: {}\n")
    assert "'datasets' is a required property" in said("list", ok=False)


# Which config


def test_the_config_of_the_last_run(runner, store):
    """The run's own file counts as it is now; without it, or where options changed it, what the run kept."""

    def explained(**options):
        return runner("store", "explain", TABLE, **options)

    Path("config.yaml").rename("my.yaml")
    told = "has seen no run and holds no config/config.yaml or config.yaml; name the config with --configfile"
    assert told in explained(ok=False)
    config = yaml.safe_load(Path("my.yaml").read_text())
    keep_config(config, [Path("my.yaml")])
    assert find_config(Path()) == Path.cwd() / "my.yaml"
    assert explained().splitlines()[0] == f"config: {Path.cwd()}/my.yaml"
    assert "would not be computed" in explained()
    config["datasets"]["digits"]["per_class"] = 3
    Path("my.yaml").write_text(yaml.safe_dump(config))
    assert "selection.per_class: 2 -> 3" in explained()
    Path("my.yaml").unlink()
    assert f"config: {Path.cwd()}/.snakemake/classlens/config.yaml" in runner("store", "list")
    assert "would not be computed" in explained()
    write_config()
    keep_config(config, ["config.yaml"])  # changed by options
    assert "selection.per_class: 2 -> 3" in explained()


@pytest.mark.parametrize("place", ["config/config.yaml", "config.yaml"])
def test_a_config_that_lies_in_the_working_directory(runner, store, place):
    Path(place).parent.mkdir(exist_ok=True)
    Path("config.yaml").rename(place)
    for command in (["explain", TABLE], ["provenance", TABLE], ["list"], ["verify"], ["gc"], ["accept", TABLE]):
        assert f"config: {Path.cwd() / place}" in runner("store", *command)


def test_a_config_of_another_study(said, store):
    text = Path("config.yaml").read_text().replace("digits:", "numbers:").replace("dataset: digits", "dataset: numbers")
    Path("config.yaml").write_text(text)
    told = said("explain", TABLE, ok=False)
    assert "config.yaml has no dataset digits; name the config of the run with --configfile" in told


# Explain

FRESH = "would not be computed: no part of its key changed"


@pytest.fixture
def explained(said):
    return lambda target=PIXELS: said("explain", target).splitlines()


def test_explain_what_is_fresh(explained, store):
    assert explained() == [f"{PIXELS} (pixels) {FRESH}"]
    assert explained(Path.cwd() / TABLE)[0].endswith(f"(stimuli) {FRESH}")


@pytest.mark.parametrize("command", ["explain", "provenance"])
def test_an_unknown_target(said, store, command):
    for target in ("raw.txt", "results/nothing.csv"):
        told = f"error: {target} was not made through the store {store.root}; run snakemake for it first\n"
        assert said(command, target, ok=False) == told


def test_explain_a_change_of_the_config(explained, store):
    write_config(per_class=3)
    *lines, chosen, per_class = explained()
    assert lines == [
        f"{PIXELS} (pixels) would be computed",
        f"  - input {TABLE} would be made again first",
        f"  {TABLE} (stimuli) would be computed",
    ]
    assert re.fullmatch(r"    - config chosen: \w{64} -> \w{64}", chosen)
    assert per_class == "    - config selection.per_class: 2 -> 3"
    # Where the store knows the other one:
    make(store)
    write_config(per_class=2)
    first, _, per_class = explained(TABLE)
    assert first == f"{TABLE} (stimuli) would come from the store: its key changed to one that was computed before"
    assert per_class == "  - config selection.per_class: 3 -> 2"
    # The table that comes back decides about the pixels; all that can be told is that they are looked at again.
    assert explained()[0].startswith(f"{PIXELS} (pixels) would come from the store")


def test_explain_a_change_of_an_input(explained, store):
    Path("raw.txt").write_text("other")
    lines = explained()
    assert lines[0] == f"{PIXELS} (pixels) would be computed"
    assert lines[-1] == "    - input raw.txt has another content"
    Path("raw.txt").unlink()
    assert explained(TABLE)[1:] == ["  - input raw.txt has another content"]


def test_explain_after_an_input_was_deleted_and_its_record_collected(said, explained, store):
    Path(TABLE).unlink()
    assert explained() == [f"{PIXELS} (pixels) {FRESH}"]
    age(store, 1)
    assert gc.collect(store).records == 1
    assert explained() == [f"{PIXELS} (pixels) {FRESH}"]
    shown = said("provenance", PIXELS).splitlines()
    assert shown[-1].startswith(f"  {TABLE}  made, but its record was collected  ")
    assert "was not made through the store" in said("explain", TABLE, ok=False)


def test_explain_files_of_one_job_once(explained, store):
    shards = [f"results/shard_{index}.csv" for index in range(3)]
    run("stimuli", {"raw": ["raw.txt"]}, {"shards": shards}, {"dataset": "digits"}, store)
    wildcards = {"dataset": "digits", "geometry": "squash-16-bilinear", "split": "training"}
    run("pixels", {"shards": shards}, {"pixels": "results/p.h5"}, wildcards, store)
    Path("raw.txt").write_text("other")
    assert explained("results/p.h5")[4:] == [
        f"  {shards[0]} (stimuli) would be computed",
        "    - input raw.txt has another content",
        f"  {shards[1]} (stimuli) would be computed (see above)",
        f"  {shards[2]} (stimuli) would be computed (see above)",
    ]


def test_explain_a_wide_and_deep_workflow(explained, store, monkeypatch):
    """Every file is looked at once, however many ways lead to it."""
    layer = [TABLE]
    for depth in range(3):
        above = layer
        layer = [f"results/{depth}_{index}" for index in range(3)]
        for index, path in enumerate(layer):
            wildcards = {"dataset": "digits", "geometry": f"squash-{index + 1}-bilinear", "split": f"{depth}"}
            run("pixels", {"above": above}, {"pixels": path}, wildcards, store)
    asked = []
    key_now = plan.key_now
    counted = lambda *arguments: asked.append(arguments) or key_now(*arguments)  # noqa: E731
    monkeypatch.setattr("classlens.catalog.plan.key_now", counted)
    assert explained(layer[0])[0].endswith(FRESH)
    assert len(asked) == 2 * 3 + 2
    Path("raw.txt").write_text("other")
    assert len([line for line in explained(layer[0]) if line.endswith("would be computed")]) == 2 * 3 + 2


@pytest.fixture
def keys():
    """Keys as they are in a process of its own, which reads code and versions once."""
    plan._code_key.cache_clear()
    yield
    plan._code_key.cache_clear()


@pytest.mark.usefixtures("keys")
def test_explain_a_change_of_a_library(explained, store, monkeypatch):
    monkeypatch.setattr("classlens.store.key.library_versions", lambda _: {"python": "3.99", "numpy": "9"})
    plan._code_key.cache_clear()
    first, *lines = explained(TABLE)
    assert first == f"{TABLE} (stimuli) would be computed"
    assert any(line.startswith("  - libraries numpy: ") and line.endswith("-> 9") for line in lines)


@pytest.mark.usefixtures("keys")
def test_explain_a_change_of_code(said, explained, working, tmp_path, monkeypatch):
    checkout = copy_checkout(tmp_path / "checkout")
    monkeypatch.setattr(cli, "PACKAGE", checkout / "classlens")
    Path("raw.txt").write_text("raw")
    make(Store(working / ".classlens"), checkout)
    assert explained(TABLE)[0].endswith(FRESH)
    module = checkout / "classlens/data/listing.py"
    module.write_text(f"{module.read_text()}\n\nNEW = 1\n")
    monkeypatch.setattr(plan, "KNOWN", Known())
    plan._code_key.cache_clear()
    [reason] = explained(TABLE)[1:]
    assert re.fullmatch(r"  - code classlens\.data\.listing: \w{16} -> \w{16}", reason)
    # The edit changed no number, and somebody says so.
    assert said("accept", TABLE).endswith("1 results accepted\n")
    assert explained(TABLE)[0].endswith(FRESH)
    assert "    accepted by " in said("provenance", TABLE)
    Path("raw.txt").write_text("other")
    assert "more than code changed (input raw.txt" in said("accept", TABLE, ok=False)
    assert explained()[0] == f"{PIXELS} (pixels) would be computed"


# Provenance


def test_provenance(said, store):
    pixels, key, table, other, raw = said("provenance", PIXELS).splitlines()
    assert pixels.startswith(f"{PIXELS}  by pixels, 20")
    assert "on " in pixels
    assert " abacus, commit " in pixels
    records = {record.job: record for record in store.own.records()}
    assert key.startswith(f"    key {records['pixels'].key[:12]}, python 3.")
    assert table.startswith(f"  {TABLE}  by stimuli, ")
    assert other.startswith(f"      key {records['stimuli'].key[:12]}, ")
    assert raw == f"    raw.txt  raw  {records['stimuli'].parts['inputs']['raw'][0][:12]}"


def test_provenance_tells_of_a_record_once_and_counts_raw_files(said, store):
    raw = [f"raw_{index}.txt" for index in range(1200)]
    for path in raw:
        Path(path).write_text(path)
    outputs = {"first": "results/first.csv", "second": "results/second.csv"}
    run("stimuli", {"raw": raw, "note": "raw.txt"}, outputs, {"dataset": "digits"}, store)
    wildcards = {"dataset": "digits", "geometry": "squash-16-bilinear", "split": "training"}
    run("pixels", {"stimuli": list(outputs.values())}, {"pixels": "results/p.h5"}, wildcards, store)
    lines = said("provenance", "results/p.h5").splitlines()
    assert len([line for line in lines if "raw.txt  raw" in line]) == 1
    assert lines[-1].startswith("  results/second.csv  by stimuli, ")
    assert lines[-1].endswith("  (see above)")
    counted, note = said("provenance", outputs["first"]).splitlines()[2:]
    assert counted.startswith("  raw: 1,200 raw files, first raw_0.txt  ")
    assert note.startswith("  raw.txt  raw  ")
    lines = said("provenance", outputs["first"], "--all").splitlines()
    assert [line.split()[0] for line in lines[2:]] == [*raw, "raw.txt"]


def test_provenance_after_the_directory_was_moved(runner, store, tmp_path, monkeypatch):
    """Its list moves with it, and a run notes where it is."""
    Path(TABLE).unlink()
    moved = tmp_path / "moved"
    shutil.move(store.root, tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "working").rename(moved)
    options = ("--store", tmp_path / "store", "--directory", moved, "--configfile", moved / "config.yaml")
    (moved / "results/datasets/digits/note.txt").write_text("by hand")
    lines = runner("store", "provenance", PIXELS, *options).splitlines()
    assert lines[0].startswith(f"{PIXELS}  by pixels")
    assert lines[2].startswith(f"  {TABLE}  by stimuli")
    monkeypatch.chdir(moved)
    assert verify_workdir(Store(tmp_path / "store")) == []
    age(Store(tmp_path / "store"), 2)
    assert runner("store", "gc", *options).startswith("took 1 records and 1 blobs, ")  # of the table alone


# Verify and collect


def test_verify(said, store):
    assert said("verify") == "0 damaged blobs, 0 damaged results\n"
    Path("results/note.txt").write_text("by hand")
    [blob] = [blob for blob in store.own.files("blobs") if Path(TABLE).samefile(blob)]
    blob.chmod(0o644)
    blob.write_text("rot!")
    assert said("verify", ok=False).splitlines() == [
        f"damaged: {blob}",
        f"damaged: {TABLE}, set aside as {TABLE}.changed",
        "1 damaged blobs, 1 damaged results",
    ]
    assert not blob.exists()
    assert not Path(TABLE).exists()
    assert not Path(PIXELS).exists()  # which was made from the table
    assert Path("results/note.txt").exists()
    assert Path(f"{TABLE}.changed").read_text() == "rot!"
    assert said("verify") == "0 damaged blobs, 0 damaged results\n"
    make(store)
    assert Path(PIXELS).exists()


def age(store, days):
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (path.stat().st_mtime - days * gc.DAY,) * 2)


def test_gc(said, store):
    Path(PIXELS).unlink()
    [record] = [record for record in store.own.records() if record.job == "pixels"]
    size = store.own.blob(record.outputs[0].digest).stat().st_size
    age(store, 2)
    assert said("gc", "--older-than", "3") == "took 0 records and 0 blobs, 0 B\n"
    assert said("gc", "--keep", "1") == "took 0 records and 0 blobs, 0 B\n"
    assert said("gc", "--dry-run") == f"would take 1 records and 1 blobs, {size} B\n"
    assert len(list(store.own.records())) == 2
    taken = f"took 1 records and 1 blobs, {size} B\n"
    assert said("gc", "--older-than", "1.5", "--keep", "0") == taken
    assert [record.job for record in store.own.records()] == ["stimuli"]
