"""docs/lens.md runs as it is printed; only the download and the pictures are made up."""

import re
from functools import partial

import numpy as np
import timm
from conftest import CHECKOUT
from PIL import Image

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # Fresh weights, and narrow, as nothing on the page depends on the width.
    small = partial(timm.create_model, pretrained=False, embed_dim=24)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: small(name))
    for seed, name in enumerate(("cat.jpg", "other.jpg")):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (240, 300, 3), np.uint8)).save(name)
    blocks = BLOCK.findall((CHECKOUT / "docs/lens.md").read_text())
    assert len(blocks) == 6
    names = {}
    for block in blocks:
        exec(block, names)
    view, heatmap = names["view"], names["explanation"].heatmap()
    assert view.rank(class_index="tabby").shape == (12, 1, 197)
    assert heatmap.shape == (14, 14)
    assert names["top"].shape == (1, 197, 3)
    assert not np.allclose(names["patched"].output, names["lens"]("other.jpg").output)
    assert {path.name for path in tmp_path.glob("*.png")} == {"blocks.png", "cls.png"}
