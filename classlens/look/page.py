"""The lens page of some pictures: the workflow's own page, fed by a lens."""

from __future__ import annotations

from classlens.look.gather import Gathered
from classlens.page.document import document
from classlens.shipped import workflow_folder


def page_of(gathered: Gathered, of: int, beside: tuple[str, str] | None = None) -> str:
    """Return the page's text.

    Args:
        gathered: a model's numbers of some pictures.
        of: how many pictures there are, of which these were chosen.
        beside: name of another model, and its page of the same pictures, which this one then holds.
    """
    folder = workflow_folder() / "workflow/page"
    sources = {"template": str(folder / "page.html"), "style": str(folder / "page.css")}
    scripts = sorted(map(str, folder.glob("*.js")))
    about, held = gathered.about(of), ""
    if beside is not None:
        about["others"] = [{"model": beside[0], "label": beside[0], "held": True}]
        held = beside[1]
    return "".join(document(about, gathered.images(), scripts=scripts, held=held, **sources))
