"""The commands `classlens look`, `attention` and `explain`. Whatever needs torch is imported when one runs."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from classlens.errors import InputError
from classlens.units import written_size

MODEL = (
    "A name of timm's, hf-hub:OWNER/NAME, a folder that save_pretrained left, torchvision:NAME, open_clip:NAME/TAG, "
    "a checkpoint with --architecture, or shipped:vit_cls."
)
REFUSED = 2
"""Exit status where something cannot be looked at; nothing is written then."""

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]
Architecture = Annotated[
    str | None, typer.Option("--architecture", help="timm's name of the model, for a checkpoint that does not say it.")
]
Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--texts",
        metavar="TEXT",
        help="A text as a class of CLIP or SigLIP; once for each: --texts 'a cat' --texts 'a dog'.",
    ),
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
        list[str], typer.Argument(metavar="PICTURES", help="Files, folders or globs; no labels needed.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("look.html"),
    no_open: NoOpen = False,
    architecture: Architecture = None,
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class of interest, by name or index; default: the prediction.")
    ] = None,
    beside: Annotated[
        str | None, typer.Option("--beside", metavar="MODEL2", help="A second model on the same page, token by token.")
    ] = None,
    texts: Texts = None,
    tuned: Annotated[
        Path | None,
        typer.Option("--tuned", metavar="FOLDER", help="Tuned lens of MODEL, of a run: results/NAME/tuned_lens."),
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
        from classlens.look.gather import Gathered, page_of
        from classlens.look.models import open_lens

        methods = [one.strip() for one in explain.split(",") if one.strip()]
        chosen = _class(class_name)

        def gathered(source: str) -> Gathered:
            named = architecture if source == model or Path(source).expanduser().is_file() else None
            maps = tuned if source == model else None
            return Gathered(open_lens(source, named, texts), Path(source).name, found, methods, chosen, maps)

        # One model after the other: each is let go before the next is opened.
        other = None if beside is None else (Path(beside).name, page_of(gathered(beside), of))
        text = page_of(gathered(model), of, other)
        output.write_text(text, encoding="utf-8", newline="\n")
        show(output, f"{len(found)} of {of} pictures, {written_size(output.stat().st_size)}", no_open=no_open)


def attention(
    model: Model,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture.")],
    token: Annotated[
        str | None, typer.Option(help="Image token that attends, as row,column from 1; default: [CLS].")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder.")] = Path("attention"),
    no_open: NoOpen = False,
    architecture: Architecture = None,
) -> None:
    """Show what [CLS], or any token of a picture, attends to: a map per block and head, as PNGs and a page of them.

    Works for models with fused attention, with registers, and without a head.
    """
    with refusals():
        from classlens.look.pictures import find_pictures

        place = _place(token)
        [path] = find_pictures([str(picture)], 1)[0]
        from classlens.look.attention import token_attention, write_attention
        from classlens.look.models import open_lens

        found = token_attention(open_lens(model, architecture), path, place)
        page = write_attention(found, output, model=Path(model).name, file=path.name)
        blocks, heads, _ = found.weights.shape
        show(page, f"{blocks} blocks of {heads} heads, a PNG each beside it", no_open=no_open)


def explain(
    model: Model,
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURES...", help="Files, folders (flat or nested) or globs.")
    ],
    method: Annotated[str, typer.Option(help="An explanation, e.g. attn_lrp, legrad, gradient (docs/method.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to; made if it is missing.")],
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="The class to explain, by name or index; default: what the model predicts."),
    ] = None,
    architecture: Architecture = None,
    texts: Texts = None,
) -> None:
    """Explain a model's decisions: which parts of pictures support a class.

    Writes for each picture an overlay (.png, in the picture's own size) and the map (.npy, rows x columns of image
    tokens), and explanations.csv with the class of each and its probability.
    """
    with refusals():
        from classlens.look.pictures import find_pictures

        found = list(find_pictures(pictures, sys.maxsize)[0])
        from classlens.look.explained import write_explanations
        from classlens.look.models import open_lens

        write_explanations(open_lens(model, architecture, texts), found, method, output, _class(class_name))
        typer.echo(f"{output}: {len(found)} pictures explained by {method}")


def _class(name: str | None) -> int | str | None:
    return int(name) if name is not None and name.isdigit() else name


def _place(token: str | None) -> tuple[int, int] | None:
    if token is None:
        return None
    row, _, column = token.partition(",")
    if not (row.strip().isdigit() and column.strip().isdigit()):
        raise InputError(f"--token {token} is no row,column; write e.g. --token 3,5 (both from 1)")
    return int(row), int(column)


def show(page: Path, what: str, *, no_open: bool) -> None:
    """Say what a page shows, and open it in the browser unless that is not wanted."""
    typer.echo(f"{page}: {what}")
    if not no_open:
        webbrowser.open(page.resolve().as_uri())
