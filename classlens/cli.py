"""The command line: `look`, `attention`, `explain`, `diff`, `init`, `check`, `run`, `watch`, `store ...` and more."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from classlens.catalog.configs import read_config
from classlens.catalog.reference import MADE_FILES, reference
from classlens.config.architecture import with_architectures
from classlens.configfile import PLACES, find_config
from classlens.errors import InputError
from classlens.look.command import attention, look
from classlens.look.command import explain as explain_pictures
from classlens.shipped import PACKAGE, workflow_folder
from classlens.store import explain as explaining
from classlens.store import gc
from classlens.store.disk_errors import explained_disk_errors, user_name
from classlens.store.folder import Record
from classlens.store.key import JobKey
from classlens.store.lock import use_locks
from classlens.store.store import STORE_VARIABLE, Store, store_path
from classlens.store.verify import verify_blobs, verify_results
from classlens.store.workdir import LOOK_VARIABLE
from classlens.units import written_size

app = typer.Typer(no_args_is_help=True, help="Look inside vision transformers through class embedding space.")
store_app = typer.Typer(no_args_is_help=True, help="Inspect and maintain the artifact store.")
app.add_typer(store_app, name="store")
app.command()(look)
app.command()(attention)
app.command("explain")(explain_pictures)

WHICH_CONFIG = "default: that of the last run in the working directory, else config/config.yaml or config.yaml there"


def at_home(path: Path | None) -> Path | None:
    """Expand `~` at the start of a path; shells leave it as it is in `--directory=~/study`."""
    return None if path is None else Path(os.path.expanduser(path))


ConfigFile = Annotated[
    Path | None,
    typer.Option("--configfile", callback=at_home, help=f"The config that the workflow runs with; {WHICH_CONFIG}."),
]
Working = Annotated[
    Path,
    typer.Option(
        "--directory",
        callback=at_home,
        help="The working directory, which holds results/. As in a run, relative paths in the config start there.",
    ),
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store", callback=at_home, help=f"The store; default: ${STORE_VARIABLE}, else what the config says."
    ),
]


@contextmanager
def plain_errors() -> Iterator[None]:
    """Show what is wrong with the user's input, or what the file system refuses, without a traceback."""
    try:
        with explained_disk_errors(store_path(None)):
            yield
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


def existing(working: Path) -> Path:
    """Return a working directory.

    Raises:
        InputError: there is none.
    """
    if not working.is_dir():
        raise InputError(f"there is no directory {working}")
    return working


def config_of(working: Path, given: Path | None) -> Path:
    """Return the config that a command is about: the one that is given, else that of the working directory.

    Raises:
        InputError: there is no such directory, or no config in it.
    """
    if given is not None:
        return given.absolute()
    found = find_config(existing(working).absolute())
    typer.echo(f"config: {found}", err=True)
    return found


def open_store(folder: Path | None, config: Path | None, working: Path) -> Store:
    """Open the store that a command is about, and go to the working directory.

    Args:
        folder: the store, where it is given.
        config: names the store where nothing else does; None: that of the working directory.
        working: the working directory.

    Raises:
        InputError: there is no such directory, no config, or no store.
    """
    # What is typed is relative to where it is typed; environment and config are relative to the working directory.
    folder = folder.absolute() if folder else None
    named = folder is not None or os.environ.get(STORE_VARIABLE)
    chosen = None if named else config_of(working, config)
    os.chdir(existing(working))
    said = read_config(chosen) if chosen else None
    use_locks(said.locks if said else None)
    root = folder or store_path(said.store if said else None)
    if not root.is_dir():
        raise InputError(f"there is no store at {root}; run the workflow first, or name one with --store")
    return Store(root)


@app.command("config-reference")
def config_reference(
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {', '.join(MADE_FILES)} of the checkout here instead.")
    ] = False,
) -> None:
    """Print the reference of all config keys (docs/config.md)."""
    if not write:
        sys.stdout.write(reference())
        return
    with plain_errors():
        for path, make in MADE_FILES.items():
            if not Path(path).parent.is_dir():
                raise InputError(f"there is no folder {Path(path).parent} here; go to the checkout")
            Path(path).write_text(make(), encoding="utf-8")


@app.command()
def snakefile() -> None:
    """Print where the workflow's Snakefile is, for `snakemake --snakefile` and for modules."""
    typer.echo(workflow_folder() / "Snakefile")


HOW_MANY = frozenset({"--cores", "-c", "--jobs", "-j", "--executor", "-e", "--profile", "--workflow-profile"})
"""Options of Snakemake that say how many jobs run at once."""
PLACED = frozenset({"--configfile", "--configfiles", "--directory", "-d"})
"""Options of Snakemake by which a config of the present folder is not meant."""


def snakemake() -> list[str]:
    """Return the command that runs Snakemake with the workflow's Snakefile."""
    folder = workflow_folder()
    return [sys.executable, "-P", str(folder / "workflow/command.py"), "--snakefile", str(folder / "Snakefile")]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def run(context: typer.Context) -> None:
    """Run the workflow here: `snakemake` with its Snakefile, all cores, and config.yaml where there is one.

    Takes targets and every option of Snakemake, in any order; what is given replaces these defaults.
    """
    given = [
        re.sub(r"^(--[\w-]+=)?~(?=/|$)", lambda found: (found[1] or "") + os.path.expanduser("~"), word)
        for word in context.args
    ]
    options = {word.partition("=")[0] for word in given}
    command = [*snakemake(), *(() if options & HOW_MANY else ("--cores", "all"))]
    own = next((path for path in PLACES if path.is_file()), None)
    if own and not options & PLACED:
        command += ["--configfile", str(own)]
    # In this process's place: a parent that Ctrl-C reaches, too, would kill Snakemake before it has ended its jobs.
    os.execv(command[0], [*command, *given])


@app.command()
def diff(
    first: Annotated[str, typer.Argument(help="A model of the config here, such as run@10; with --data, any source.")],
    second: Annotated[str, typer.Argument(help="What is compared with it.")],
    data: Annotated[
        Path | None, typer.Option(callback=at_home, help="A folder of images per class, for models outside a config.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="timm's name of both, where their files do not say it (with --data).")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(callback=at_home, help="The working directory; with --data: classlens-diff.")
    ] = None,
) -> None:
    """Compare two models image by image: a table, a figure, and their lens pages side by side."""
    from classlens.study.compare import CONFIG, write_comparison

    command = [*snakemake(), "--cores", "all"]
    with plain_errors():
        if data is None:
            os.chdir(existing(directory or Path()))
            own, pair = config_of(Path(), None), [first, second]
            command += ["--configfile", str(own), "--config", f"differences={json.dumps([pair])}"]
        else:
            folder = directory or Path("classlens-diff")
            pair = write_comparison(folder, first, second, data, architecture)
            os.chdir(folder)
            command += ["--configfile", CONFIG]
    figure, *pages = f"results/figures/difference_{'_'.join(pair)}.svg", *(f"results/lens/{name}.html" for name in pair)
    typer.echo(f"{figure} will show the difference, {pages[1]}#beside={pair[0]} both models, in {Path.cwd()}")
    os.execv(command[0], [*command, "--", figure, *pages])


@app.command()
def shortcuts(
    config: Annotated[
        Path | None, typer.Argument(callback=at_home, help=f"The config of the models; {WHICH_CONFIG}.")
    ] = None,
    directory: Working = Path(),
) -> None:
    """Find what models should not look at, take it out where that helps, and say so in ten lines."""
    from classlens.study import shortcuts as found

    with plain_errors():
        chosen = config_of(directory, config)
        os.chdir(existing(directory))
        known = with_architectures(read_config(chosen))
        models = found.repaired_models(known)
        command = [*snakemake(), "--cores", "all", "--configfile", str(chosen), "--", *found.targets(known, models)]
        with subprocess.Popen(command, stdout=sys.stderr) as running:
            # Ctrl-C reaches Snakemake, too, which ends its jobs first.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            failed = running.wait()
        for model, attribute in () if failed else models.items():
            for line in found.answer(model, attribute):
                typer.echo(line)
    raise typer.Exit(failed)


MOST_PRINTED = 20
"""Lines of Snakemake that are passed on."""
DOUBTFUL = 3
"""Exit status of `check` where a run would do something that is probably a mistake."""
NOT_LOOKED_AT = (
    " as far as --quick looks: no image or mask was decoded, no model was tried, time and disk were not estimated"
)


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(callback=at_home, help="The study's folder; made if it is missing.")
    ] = Path(),
    own_model: Annotated[bool, typer.Option("--own-model", help="Your own weights, on your own images.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="The seven models and two data sets of the paper.")] = False,
) -> None:
    """Start a study: write a commented config.yaml, for your own images unless an option says otherwise."""
    from classlens.study.start import start

    with plain_errors():
        if own_model and paper:
            raise InputError("--own-model and --paper are two studies; start one of them")
        for line in start(folder, "model" if own_model else "paper" if paper else "images"):
            typer.echo(line)


@app.command()
def check(
    config: Annotated[
        Path | None, typer.Argument(callback=at_home, help=f"The config to check; {WHICH_CONFIG}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Decode no images and try no models.")] = False,
    store: StoreFolder = None,
    directory: Working = Path(),
) -> None:
    """Check a config, its data, masks, weights and heads before anything runs.

    Relative paths in the config start at the working directory, --directory, as in a run with the same option. Ends
    with status 1 where a run would refuse something, with 3 where it would do or leave out something that is probably
    a mistake.
    """
    from classlens.check.findings import check as look_over

    store = store.absolute() if store else None
    with plain_errors():
        config = config_of(directory, config)
        os.chdir(existing(directory))
    findings = look_over(config, quick=quick)
    todo = [f"doubt: {doubt}" for doubt in findings.doubts]
    for line in (*(todo if findings.notes else ()), *findings.notes):
        typer.echo(line)
    if not findings.problems:
        planned, findings.problems = _planned_jobs(config, store)
        typer.echo(planned)
    # Once more what there is to do, after what may be many lines.
    for line in (*todo, *(f"error: {problem}" for problem in findings.problems)):
        typer.echo(line, err=True)
    if findings.problems:
        raise typer.Exit(1)
    if findings.doubts:
        raise typer.Exit(DOUBTFUL)
    typer.echo(f"{config} is fine{NOT_LOOKED_AT if quick else ''}")


@app.command()
def watch(
    once: Annotated[bool, typer.Option("--once", help="Print once instead of going on until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 2.0,
    directory: Working = Path(),
) -> None:
    """Show what each running job does, how far it is and when it will end, from the logs in the working directory."""
    from classlens.watch import follow

    with plain_errors():
        follow(existing(directory), every=every, once=once)


def _planned_jobs(config: Path, store: Path | None) -> tuple[str, list[str]]:
    """Say how many jobs a run would start now, as the scheduler itself counts them, and what it refuses."""
    ran = subprocess.run(
        [*snakemake(), "--dry-run", "--cores", "1", "--configfile", str(config), "--quiet", "rules"],
        env={**os.environ, LOOK_VARIABLE: "1", **({STORE_VARIABLE: str(store)} if store else {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        cause = _cause(f"{ran.stderr}\n{ran.stdout}")
        return "jobs: unknown", [f"the workflow cannot be planned: {line}" for line in cause]
    total = re.search(r"^total\s+(\d+)", ran.stdout + ran.stderr, re.MULTILINE)
    return f"jobs: {total[1] if total else 0} to start; those that the store knows end at once", []


def _cause(printed: str) -> list[str]:
    """Return the lines of a refusal in what Snakemake printed: from its error's name to the trace of its own files."""
    lines = [line.removeprefix("error: ") for line in printed.splitlines() if line.strip()]
    first = next((n for n, line in enumerate(lines) if re.match(r"(\w+\.)*\w*(Error|Exception)\b", line)), None)
    if first is None:
        return lines[-MOST_PRINTED:] or ["Snakemake says nothing"]
    last = next((n for n in range(first + 1, len(lines)) if lines[n].startswith('  File "')), len(lines))
    return lines[first:last][:MOST_PRINTED]


@store_app.command("list")
def list_records(store: StoreFolder = None, configfile: ConfigFile = None, directory: Working = Path()) -> None:
    """List what the store holds, oldest first: age in days, size, key, job, and the owner if that is not you."""
    with plain_errors():
        opened = open_store(store, configfile, directory)
        distinct: dict[str, int] = {}
        for folder, record, size, age in gc.sizes_and_ages(opened.records()):
            distinct |= {output.digest: output.size for output in record.outputs}
            text = " ".join([record.job, *record.wildcards.values()])
            whose = "" if folder.is_own else f"  (of {user_name(folder.action(record.key).stat().st_uid)})"
            _say(f"{age:8.2f} d {written_size(size):>9}  {record.key[:12]}  {text.rstrip()}{whose}")
        typer.echo(f"{len(distinct)} blobs, {written_size(sum(distinct.values()))}, in {opened.root}")


@store_app.command()
def explain(target: str, store: StoreFolder = None, configfile: ConfigFile = None, directory: Working = Path()) -> None:
    """Say whether a run would compute a file under results/, and why."""
    with plain_errors():
        opened, key_now = _opened_with_keys(store, configfile, directory)
        _show(explaining.explain(target, opened, key_now), 0, set())


@store_app.command()
def accept(target: str, store: StoreFolder = None, configfile: ConfigFile = None, directory: Working = Path()) -> None:
    """Accept that an edit of code changed no number in a file or what it was made from: nothing is computed again."""
    with plain_errors():
        accepted = explaining.accept(target, *_opened_with_keys(store, configfile, directory))
        for verdict in accepted:
            _say(f"accepted: {verdict.path} ({verdict.record.job})")
        typer.echo(f"{len(accepted)} results accepted")


@store_app.command()
def provenance(
    target: str,
    every: Annotated[bool, typer.Option("--all", help="Name every raw file instead of counting them.")] = False,
    store: StoreFolder = None,
    configfile: ConfigFile = None,
    directory: Working = Path(),
) -> None:
    """Show how a file under results/ was made, down to raw data."""
    with plain_errors():
        opened = open_store(store, configfile, directory)
        for line in explaining.provenance_lines(target, opened, every=every):
            _say(line)


@store_app.command()
def verify(store: StoreFolder = None, configfile: ConfigFile = None, directory: Working = Path()) -> None:
    """Read every blob and this directory's results again; the next run replaces damaged ones."""
    with plain_errors():
        opened = open_store(store, configfile, directory)
        damaged = verify_blobs(opened)
        for blob in damaged:
            _say(f"damaged: {blob}")
        changed = verify_results(opened)
        for path, aside in changed.items():
            left = f"set aside as {aside}" if aside else "left there, for a run is under way"
            _say(f"damaged: {path}, {left}")
        typer.echo(f"{len(damaged)} damaged blobs, {len(changed)} damaged results")
        if damaged or changed:
            raise typer.Exit(1)


@store_app.command("gc")
def collect(
    older_than: Annotated[
        float | None, typer.Option(help="Only what is older than this many days; default: one hour.")
    ] = None,
    keep: Annotated[float | None, typer.Option(help="Delete the oldest until this many GB are left.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Delete nothing, only count.")] = False,
    store: StoreFolder = None,
    configfile: ConfigFile = None,
    directory: Working = Path(),
) -> None:
    """Delete what is yours and no results/ uses any more."""
    with plain_errors():
        opened = open_store(store, configfile, directory)
        limit = None if keep is None else int(keep * 1e9)
        taken = gc.collect(opened, older_than=older_than, larger_than=limit, dry_run=dry_run)
        verb = "would take" if dry_run else "took"
        typer.echo(f"{verb} {taken.records} records and {taken.blobs} blobs, {written_size(taken.size)}")
        if (opened.root / "actions").is_dir():
            typer.echo(layout_before(opened))


def layout_before(store: Store) -> str:
    """Say how to move a store of the layout before this one, which is read but neither written nor collected."""
    places = [store.root / name for name in ("actions", "blobs")]
    before = shlex.join(str(place) for place in places if place.is_dir())
    locks = shlex.quote(str(store.root / "locks"))
    own = shlex.quote(str(store.own.path))
    return (
        f"{before} are of an earlier version, which all read and nobody collects; what is yours moves to your "
        f"folder, while nothing runs, by: mkdir -p -m 755 {own} && cp -rln {before} {own} && "
        f"rm -rf {before} {locks}"
    )


def _opened_with_keys(folder: Path | None, configfile: Path | None, working: Path) -> tuple[Store, explaining.KeyNow]:
    """Open the store that a command is about, and return it with what gives the keys that its records have now."""
    from classlens.catalog.plan import key_now

    configfile = config_of(working, configfile)
    opened = open_store(folder, configfile, working)
    config = with_architectures(read_config(configfile))

    def key(record: Record) -> JobKey:
        wildcards, declared = record.wildcards, record.provenance.get("declared")
        for kind, known in (("model", config.models), ("dataset", config.datasets)):
            if kind in wildcards and wildcards[kind] not in known:
                raise InputError(
                    f"{configfile} has no {kind} {wildcards[kind]}; name the config of the run with --configfile"
                )
        if not declared:
            raise InputError(
                f"{record.job} was recorded by an earlier version, which declared its jobs otherwise; run snakemake "
                f"for the file"
            )
        return key_now(declared, config, wildcards, PACKAGE.parent)

    return opened, key


def _show(verdict: explaining.Verdict, depth: int, seen: set[str]) -> None:
    said = {
        "fresh": "would not be computed: no part of its key changed",
        "stored": "would come from the store: its key changed to one that was computed before",
        "compute": "would be computed",
    }[verdict.state]
    again = verdict.record.key in seen
    _say(f"{'  ' * depth}{verdict.path} ({verdict.record.job}) {said}{' (see above)' if again else ''}")
    if again:
        return
    seen.add(verdict.record.key)
    for reason in verdict.reasons:
        _say(f"{'  ' * depth}  - {reason}")
    for upstream in verdict.upstream:
        _show(upstream, depth + 1, seen)


def _say(line: str) -> None:
    """Print a line that quotes a record; a terminal would obey some characters that others may put there."""
    typer.echo("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line))
