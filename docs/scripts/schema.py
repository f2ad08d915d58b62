"""The JSON schema of configs as a file of the site, `config.schema.json`. A hook of MkDocs."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the schema."""
    path = Path(config.docs_dir).parent / "config/schema.json"
    files.append(File.generated(config, "config.schema.json", abs_src_path=str(path)))
    return files
