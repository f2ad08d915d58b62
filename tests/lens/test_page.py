"""docs/lens.md runs as it is printed; only the download and the pictures are made up."""

import re
from functools import partial

import h5py
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
    maps = tmp_path / "results/my_vit/tuned_lens"
    maps.mkdir(parents=True)
    for block in range(12):
        with h5py.File(maps / f"block_{block:02d}.h5", "w") as file:
            file["weight"], file["bias"] = np.eye(24) * (block < 11), np.full(24, 0.5) * (block < 11)
            file.attrs.update({"block": block, "num_classes": 1000})
    blocks = BLOCK.findall((CHECKOUT / "docs/lens.md").read_text())
    assert len(blocks) == 10
    names = {}
    for block in blocks:
        exec(block, names)
    view, heatmap = names["view"], names["explanation"].heatmap()
    assert view.rank(class_index="tabby").shape == (12, 1, 197)
    assert heatmap.shape == (14, 14)
    # Every block but the last has a map.
    differs = names["tuned"]("cat.jpg").logit(class_index="tabby") != view.logit(class_index="tabby")
    assert differs.any((1, 2)).tolist() == [True] * 11 + [False]
    assert (names["words"]["place"] == 1).sum() == 12 * 3
    assert names["top"].shape == (1, 197, 3)
    assert not np.allclose(names["patched"].output, names["lens"]("other.jpg").output)
    assert {path.name for path in tmp_path.glob("*.png")} == {"blocks.png", "cls.png", "overlay.png"}
