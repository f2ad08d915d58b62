"""classlens: look inside vision transformers through class embedding space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classlens.results import Results

__version__ = "0.1.0"
__all__ = ["Results"]


def __getattr__(name: str) -> Any:
    """Import the reader when it is asked for; it takes pandas, which most jobs do without."""
    if name == "Results":
        from classlens.results import Results

        return Results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
