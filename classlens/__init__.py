"""classlens: look inside vision transformers through class embedding space.

Lens     one model and some images: ranks and logits of every token, interventions, explanations, plots (docs/lens.md)
explain  which image tokens support a class
Results  what the workflow wrote under results/, as arrays and tables

What the numbers mean: docs/method.md. The workflow, for whole data sets: README.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classlens.explanations.explain import explain
    from classlens.lens.lens import Lens
    from classlens.results import Results

__version__ = "0.1.0"
__all__ = ["Lens", "Results", "explain"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no more: torch or pandas are not for every job."""
    if name == "Lens":
        from classlens.lens.lens import Lens

        return Lens
    if name == "Results":
        from classlens.results import Results

        return Results
    if name == "explain":
        from classlens.explanations.explain import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names on offer."""
    return [*__all__, "__version__"]
