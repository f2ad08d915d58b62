"""What heads write into the predicted class, against attribution of that class from Python."""

import h5py
import numpy as np
import pytest
import torch
from tiny_transformers import load_small, write_small

from classlens import Lens
from classlens.hdf5 import describe
from classlens.passes.head_evidence import HeadEvidence
from classlens.passes.run import run_pass

PREDICTED = [3, 0, 5, 1, 2]


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("name", ["averages", "distilled"])
def test_the_sum_over_tokens_and_where_it_is_read(name, masks, tmp_path):
    _, pixels, weights, network = write_small(tmp_path, name, [5, 1, 0, 2, 2])
    loaded = load_small(weights, network)
    prefix, patches = loaded.model.num_prefix_tokens, loaded.model.patch_embed.num_patches
    label = np.random.default_rng(0).integers(-1, 2, (5, patches)).astype(np.int8)
    with h5py.File(tmp_path / "output.h5", "w") as file:
        top = np.zeros((5, 5), np.uint16)
        top[:, 0] = PREDICTED
        describe(file.create_dataset("top5", data=top), "classes")
    with h5py.File(tmp_path / "labels.h5", "w") as file:
        file["label"] = label
    labels = [str(tmp_path / "labels.h5")] if masks else []
    given = {"output": str(tmp_path / "output.h5"), "labels": labels}
    run_pass(str(pixels), str(weights), str(tmp_path / "rows.h5"), of=HeadEvidence, **given, **network)
    with h5py.File(pixels) as file:
        images = loaded.normalise(file["pixels"][:])
    heads = Lens(loaded.model)(images).attribution(PREDICTED).heads.numpy()
    with h5py.File(tmp_path / "rows.h5") as file:
        direct, read = file["direct"][:], file["read"][:]
    assert direct == pytest.approx(heads.sum(-1), abs=1e-5)
    of_tokens = np.full((5, prefix + patches), -1)
    if masks:
        of_tokens[:, prefix:] = label
    for place, value in enumerate((0, 1, -1)):
        own = np.where((of_tokens == value)[:, None, None], np.abs(heads), 0).sum(-1)
        assert read[..., place] == pytest.approx(own, abs=1e-5)
    assert torch.isfinite(torch.from_numpy(read)).all()
