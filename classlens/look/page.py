"""The lens page of some pictures: the workflow's own page, fed by a lens."""

from __future__ import annotations

from classlens.look.gather import Gathered
from classlens.page.document import document
from classlens.shipped import workflow_folder


def page_of(gathered: Gathered, of: int) -> str:
    """Return the page's text.

    Args:
        gathered: a model's numbers of some pictures.
        of: how many pictures there are, of which these were chosen.
    """
    folder = workflow_folder() / "workflow/page"
    sources = {"template": str(folder / "page.html"), "style": str(folder / "page.css")}
    scripts = sorted(map(str, folder.glob("*.js")))
    return "".join(document(gathered.about(of), gathered.images(), scripts=scripts, **sources))
