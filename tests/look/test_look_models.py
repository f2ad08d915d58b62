"""Models that come with classlens see digits as the default run does."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from classlens.errors import InputError
from classlens.look.models import open_lens


@pytest.mark.parametrize("name", ["vit_cls", "vit_gap"])
def test_shipped_models_read_digits(tmp_path, name):
    digits = load_digits()
    paths = [tmp_path / f"{place}.png" for place in range(40)]
    for path, image in zip(paths, digits.images, strict=False):
        Image.fromarray(np.rint(image * 255 / 16).astype(np.uint8)).save(path)
    found = open_lens(f"shipped:{name}")(paths).predictions(1)[:, 0]
    assert (found == digits.target[:40]).mean() > 0.85


def test_only_what_is_shipped():
    with pytest.raises(InputError, match="no weights 'shipped:vit' come with classlens"):
        open_lens("shipped:vit")
