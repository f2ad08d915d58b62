"""The documentation says what applies to which model, as tiny ones show it."""

import pytest
from conftest import CHECKOUT

for library in ("transformers", "open_clip", "peft"):
    pytest.importorskip(library)


def test_the_table_in_the_docs_is_what_runs():
    from what_applies import between, table

    kept = (CHECKOUT / "docs/models.md").read_text()
    assert table() == between(kept)[0], "run python tests/sources/what_applies.py docs/models.md"
