"""The command `classlens explain`. Whatever needs torch is imported when it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from classlens.look.command import Architecture, Model, Texts, refusals


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

        chosen = int(class_name) if class_name is not None and class_name.isdigit() else class_name
        write_explanations(open_lens(model, architecture, texts), found, method, output, chosen)
        typer.echo(f"{output}: {len(found)} pictures explained by {method}")
