"""Memories of one block, image by image from the definition; tests/workflow/test_golden.py has the golden numbers."""

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from classlens.measures.block_memories import block_memories, random_classes
from classlens.measures.memory_parameters import write_parameters

IMAGES, TOKENS, CLASSES, WIDTH, BLOCK = 30, 7, 40, 6, 1
LAYERS = {"attn": "attn.proj", "mlp": "mlp.fc2"}
MEMORIES = {"attn": WIDTH, "mlp": 24}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Files of a model, its head (C, D), and by branch its values (D, M), keys (N, T, 5) and top classes (N, T)."""
    folder, random = tmp_path_factory.mktemp("memories"), np.random.default_rng(0)
    weights = {"head.weight": random.standard_normal((CLASSES, WIDTH)).astype(np.float32)}
    for block in range(BLOCK + 1):
        for branch, layer in LAYERS.items():
            values = random.standard_normal((WIDTH, MEMORIES[branch])).astype(np.float32)
            weights[f"blocks.{block}.{layer}.weight"] = values
    save_file(weights, folder / "weights.safetensors")
    files = {name: folder / f"{name}.h5" for name in ("layer", "output", "parameters")}
    write_parameters(weights=folder / "weights.safetensors", parameters=files["parameters"])
    keys = {name: random.random((IMAGES, TOKENS, count)).argsort(-1)[..., :5] for name, count in MEMORIES.items()}
    top = {name: random.integers(0, CLASSES, (IMAGES, TOKENS, 5)) for name in MEMORIES}
    with h5py.File(files["layer"], "w") as file:
        file.attrs.update(block=BLOCK, num_classes=CLASSES, num_prefix_tokens=1)
        for branch in MEMORIES:
            file[f"keys/{branch}"], file[f"{branch}/top5"] = keys[branch], top[branch]
    classes = random.integers(0, CLASSES, IMAGES)
    with h5py.File(files["output"], "w") as file:
        file["class_index"] = classes
    return files, weights, keys, top, classes


def of_block(files, folder, branch, seed=0):
    block_memories(**files, **{name: folder / f"{name}_{seed}.h5" for name in MEMORIES}, seed=seed)
    with h5py.File(folder / f"{branch}_{seed}.h5") as file:
        assert all(set(item.attrs) == {"description", "unit"} for item in file.values())
        facts = {"block": BLOCK, "num_classes": CLASSES, "num_prefix_tokens": 1}
        assert dict(file.attrs) == {**facts, "branch": branch, "memories": MEMORIES[branch]}
        return {name: file[name][:] for name in file}


@pytest.mark.parametrize("branch", LAYERS)
def test_tokens_agree_where_the_definition_says(run, tmp_path, branch):
    files, weights, keys, top, classes = run
    head, values = weights["head.weight"], weights[f"blocks.{BLOCK}.{LAYERS[branch]}.weight"]
    found = of_block(files, tmp_path, branch)
    lengths = np.linalg.norm(head, axis=1)[:, None] * np.linalg.norm(values, axis=0)
    assert found["class_value"] == pytest.approx((head @ values / lengths).max(1), abs=1e-6)
    drawn = random_classes(IMAGES, CLASSES, seed=0)
    for image in range(IMAGES):
        for name, own in (("agreement", classes), ("agreement_random", drawn)):
            best = set(np.argsort(-(head[own[image]] @ values))[:5])
            expected = [bool(best & set(token)) for token in keys[branch][image]]
            assert found[name][image].tolist() == expected
        called = (head @ values).argmax(0)[keys[branch][image]]
        strongest = top[branch][image, :, 0]
        assert found["composition"][image].tolist() == (called == strongest[:, None]).any(1).tolist()
    del found["class_value"]
    assert set(found) == {"agreement", "agreement_random", "composition"}
    assert all(values.any() and values.dtype == np.bool_ for values in found.values())


def test_bytes_are_the_same_again_and_another_seed_draws_other_classes(run, tmp_path):
    before, other = (of_block(run[0], tmp_path, "mlp", seed) for seed in (0, 1))
    (tmp_path / "again").mkdir()
    of_block(run[0], tmp_path / "again", "mlp")
    for branch in MEMORIES:
        assert (tmp_path / f"again/{branch}_0.h5").read_bytes() == (tmp_path / f"{branch}_0.h5").read_bytes()
    write_parameters(run[0]["parameters"].with_name("weights.safetensors"), tmp_path / "parameters.h5")
    assert (tmp_path / "parameters.h5").read_bytes() == run[0]["parameters"].read_bytes()
    assert not np.array_equal(before["agreement_random"], other["agreement_random"])
    assert np.array_equal(before["agreement"], other["agreement"])
