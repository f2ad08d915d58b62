"""Notebooks of docs/ as pages of the site, with the outputs that they are stored with. A hook of MkDocs.

They become Markdown before the site is built, so that their links are checked and their text is found like any page's.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

UNEXECUTED = "**The notebook behind this page is kept without outputs, so it shows none. `make tutorial` runs it.**"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page, and its pictures, for each notebook in docs/."""
    exporter = MarkdownExporter()
    for notebook in sorted(Path(config.docs_dir).glob("*.ipynb")):
        named = {"unique_key": notebook.stem, "output_files_dir": f"{notebook.stem}_files"}
        content = nbformat.read(notebook, nbformat.NO_CONVERT)
        if not any(cell.get("outputs") for cell in content.cells):
            content.cells.insert(1, nbformat.v4.new_markdown_cell(UNEXECUTED))
        page, resources = exporter.from_notebook_node(content, resources=named)
        for name, generated in {f"{notebook.stem}.md": page, **resources["outputs"]}.items():
            files.append(File.generated(config, name, content=generated))
    return files
