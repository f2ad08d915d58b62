"""The commands `classlens look` and `classlens attention`. Whatever needs torch is imported when one runs."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from classlens.errors import InputError
from classlens.units import written_size

MODEL = (
    "A name of timm's, hf-hub:OWNER/NAME, a folder that save_pretrained left, torchvision:NAME, open_clip:NAME/TAG, or "
    "a checkpoint with --architecture."
)
REFUSED = 2
"""Exit status where something cannot be looked at; nothing is written then."""

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Architecture = Annotated[
    str | None, typer.Option("--architecture", help="timm's name of the model, for a checkpoint that does not say it.")
]
NoOpen = Annotated[bool, typer.Option("--no-open", help="Do not open the page in the browser.")]


@contextmanager
def refusals() -> Iterator[None]:
    """Show what is wrong in one line."""
    try:
        yield
    except (InputError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(REFUSED) from None


def look(
    model: Model,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURES", help="Files, folders or globs; no labels needed."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("look.html"),
    no_open: NoOpen = False,
    architecture: Architecture = None,
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="Class of interest, by name or index; default: the prediction."),
    ] = None,
    images: Annotated[int, typer.Option(help="Pictures at most, evenly chosen.", min=1)] = 64,
    explain: Annotated[
        str, typer.Option(help="Explanations of the class of interest, e.g. attn_lrp,legrad (docs/method.md).")
    ] = "",
) -> None:
    """Look through a model in the browser: every token of some pictures, in class embedding space.

    Writes one page that holds everything; nothing else is written, and no config or data set is needed.
    """
    with refusals():
        from classlens.look.pictures import find_pictures

        found, of = find_pictures(pictures, images)
        from classlens.look.gather import Gathered
        from classlens.look.models import open_lens
        from classlens.look.page import page_of

        methods = [one.strip() for one in explain.split(",") if one.strip()]
        chosen = int(class_name) if class_name is not None and class_name.isdigit() else class_name
        gathered = Gathered(open_lens(model, architecture), Path(model).name, found, methods, chosen)
        write_page(output, page_of(gathered, of), no_open=no_open, what=f"{len(found)} pictures")


def write_page(page: Path, text: str, *, no_open: bool, what: str) -> None:
    """Write a page, say so, and open it in the browser.

    Args:
        page: the file.
        text: what it holds.
        no_open: do not open it.
        what: it shows.
    """
    page.write_text(text, encoding="utf-8", newline="\n")
    typer.echo(f"{page}: {what}, {written_size(page.stat().st_size)}")
    if not no_open:
        webbrowser.open(page.resolve().as_uri())
