"""A lens with a tuned lens' maps sees what the files say; what does not fit is refused by name."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from refusals import refused
from tiny_transformers import contents, images_of, transformer
from tuned_files import made

from classlens import Lens


def looked(study, **tuned):
    images, classes = images_of(study.evaluation)
    return Lens(study.load().model, **tuned)(images), classes


@pytest.mark.parametrize("family", ["distilled", "averages"])
def test_what_it_sees_is_what_files_say(tmp_path, family):
    study = made(tmp_path, family)
    paths = study.fit()
    for tuned in (str(tmp_path / "maps"), paths):
        view, classes = looked(study, tuned=tuned)
        for block, path in enumerate(paths):
            found, _ = contents(path)
            assert np.array_equal(view.rank("residual", classes, block), found["rank"])
            assert np.array_equal(view.top(5, "residual", block), found["top5"])


def test_what_stays_as_it_is(tmp_path):
    study = made(tmp_path)
    study.fit()
    (plain, classes), (tuned, _) = looked(study), looked(study, tuned=tmp_path / "maps")
    for site in ("attn", "mlp"):
        assert np.array_equal(plain.logit(site, classes), tuned.logit(site, classes))
    assert np.array_equal(plain.tokens(), tuned.tokens())
    assert np.array_equal(plain.output, tuned.output)
    before, after = (view.logit("residual", classes) for view in (plain, tuned))
    assert np.array_equal(before[-1], after[-1])
    assert not np.allclose(before[0], after[0], atol=0.01)
    # One image of a view has the maps, too.
    assert np.array_equal(tuned.token_logits(3, 1)[0, classes[1]], after[0, 1, 3])


def test_a_model_of_half_precision(tmp_path):
    study = made(tmp_path)
    study.fit()
    model = transformer("plain").bfloat16().eval()
    logit = Lens(model, tuned=tmp_path / "maps")(torch.randn(1, 3, 32, 32)).logit()
    assert np.isfinite(logit).all()


def test_what_does_not_fit_is_named(tmp_path):
    study = made(tmp_path)
    paths = study.fit()
    changed = [shutil.copy(paths[0], tmp_path / name) for name in ("other.h5", "cut.h5")]
    with h5py.File(changed[0], "r+") as other, h5py.File(changed[1], "r+") as short:
        other.attrs["num_classes"] = 9
        cut = short["weight"][:, :5]
        del short["weight"]
        short["weight"] = cut
    for message, tuned in (
        ("nowhere has 0 files of blocks, but the model has 2; give the folder results/MODEL", tmp_path / "nowhere"),
        ("tuned is 1 files of blocks", paths[:1]),
        (r"block_01\.h5 is of block 1, where that of block 0 is due", paths[::-1]),
        (r"missing\.h5 is no file of a tuned lens", [tmp_path / "missing.h5", paths[1]]),
        (r"pixels\.h5 is no file of a tuned lens", [study.evaluation, paths[1]]),
        (r"other\.h5 is of a model of width 24 with 9 classes, but this one has width 24", [changed[0], paths[1]]),
        (r"cut\.h5: weight \(24, 5\) and bias \(24,\) are no", [changed[1], paths[1]]),
    ):
        refused(message, lambda tuned=tuned: Lens(study.model, tuned=tuned))
