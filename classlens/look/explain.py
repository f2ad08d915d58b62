"""The command `classlens explain`. Whatever needs torch is imported when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from classlens.errors import InputError

REFUSED = 2
"""Exit status where something cannot be explained; nothing is written then."""


@contextmanager
def refusals() -> Iterator[None]:
    """Show what is wrong in one line."""
    try:
        yield
    except (InputError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(REFUSED) from None


def explain(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name of timm's, hf-hub:OWNER/NAME, a folder that save_pretrained left, torchvision:NAME, "
            "open_clip:NAME/TAG, or a checkpoint with --architecture.",
        ),
    ],
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURES...", help="Files, folders (flat or nested) or globs.")
    ],
    method: Annotated[str, typer.Option(help="An explanation, e.g. attn_lrp, legrad, gradient (docs/method.md).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to; made if it is missing.")],
    class_name: Annotated[
        str | None,
        typer.Option("--class", help="The class to explain, by name or index; default: what the model predicts."),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="timm's name of the model, for a checkpoint that does not say it.")
    ] = None,
) -> None:
    """Explain a model's decisions: which parts of pictures support a class.

    Writes for each picture an overlay (.png, in the picture's own size) and the map (.npy, rows x columns of image
    tokens), and explanations.csv with the class of each and its probability.
    """
    with refusals():
        from classlens.data.given import given_pictures

        found = given_pictures(pictures)
        from classlens.look.explained import write_explanations
        from classlens.look.models import open_lens

        chosen = int(class_name) if class_name is not None and class_name.isdigit() else class_name
        write_explanations(open_lens(model, architecture), found, method, output, chosen)
        typer.echo(f"{output}: {len(found)} pictures explained by {method}")
