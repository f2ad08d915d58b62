"""Write the config of a new study, and say what comes next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from classlens.errors import InputError
from classlens.shipped import workflow_folder

HERE = Path(__file__).resolve().parent
CONFIG = "config.yaml"
SCHEMA = "# yaml-language-server: $schema={}\n"
"""First line of a config, by which editors complete keys and show what they mean."""


class Template(NamedTuple):
    """A config to start from: its text, and what the user puts into the study's folder."""

    file: Path
    needs: tuple[str, ...]


IMAGES = "images/: a folder of images per class"
TEMPLATES = {
    "images": Template(HERE / "images.yaml", (IMAGES,)),
    "model": Template(HERE / "model.yaml", (IMAGES, "model.pth: its weights, torch.save(model.state_dict(), ...)")),
    "paper": Template(
        workflow_folder() / "config/paper.yaml",
        ("data/ and checkpoints/: `classlens check` names each missing file and where it is published",),
    ),
}


def start(folder: Path, template: str) -> list[str]:
    """Write a study's config.

    Args:
        folder: of the study; made where it is missing.
        template: in `TEMPLATES`.

    Returns:
        What was written, and what to do next, in lines.

    Raises:
        InputError: there is a config already, or the folder cannot be written.
    """
    chosen = TEMPLATES[template]
    config = folder.absolute() / CONFIG
    try:
        config.parent.mkdir(parents=True, exist_ok=True)
        with config.open("x", encoding="utf-8") as file:
            text = chosen.file.read_text(encoding="utf-8").removeprefix(SCHEMA.format("schema.json"))
            # As a URL, since editors read it up to the first space.
            file.write(SCHEMA.format((workflow_folder() / "config/schema.json").as_uri()) + text)
    except FileExistsError as error:
        raise InputError(f"{error.filename} is there already; name another folder, or move it away") from None
    check = ["classlens", "check", "--directory", str(config.parent), str(config)]
    return [
        f"wrote {config}",
        f"1. put into {config.parent}, or say in {CONFIG} where it lies:",
        *(f"     {need}" for need in chosen.needs),
        "2. look it over:",
        f"     {shlex.join(check)}",
        "3. run it:",
        f"     {shlex.join([*_snakemake(config), '--cores', 'all'])}",
        "4. read it:",
        f"     {shlex.join([*_snakemake(config), '--report', str(config.parent / 'report.html')])}",
    ]


def _snakemake(config: Path) -> list[str]:
    places = {"--snakefile": workflow_folder() / "Snakefile", "--directory": config.parent, "--configfile": config}
    return ["snakemake", "all", *(word for option, path in places.items() for word in (option, str(path)))]
