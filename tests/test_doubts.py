"""Whether a model's class indices are those of its data set: ImageNet's wnids, counts, names."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_MODEL, printed_by, tiny_config
from made_data import png, write_parquet
from studies import GOLDEN_CONFIG

from classlens.catalog.configs import load_config
from classlens.catalog.settings import selection
from classlens.check.doubts import doubts
from classlens.config.architecture import model_options, with_architectures
from classlens.errors import InputError
from classlens.models.imagenet import imagenet_indices

WNIDS = {"n01440764": 0, "n02102040": 217, "n03888257": 701}
"""Tench, English springer and parachute, of Imagenette."""
PRETRAINED = {"architecture": "vit_tiny_patch16_224", "dataset": "d"}


@pytest.fixture(autouse=True)
def working(tmp_path, monkeypatch, described_here):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay(*classes, root="photos"):
    for class_id in classes:
        folder = Path(root, class_id)
        folder.mkdir(parents=True)
        for number in range(2):
            (folder / f"{number}.png").write_bytes(png())


def tiny(count=None, **changes):
    options = {**TINY_MODEL["options"], **({"num_classes": count} if count else {})}
    own = {"dataset": "d", "options": options, "weights": "w.pth", "analyses": ["identifiability"]}
    return {**TINY_MODEL, **own, **changes}


def config(*models, **dataset):
    data = {"kind": "image_folder", "root": "photos", "per_class": 1, "train_per_class": 1, **dataset}
    return load_config({"datasets": {"d": data}, "models": {f"m{place}": model for place, model in enumerate(models)}})


def indices(loaded):
    return {item.class_name: item.class_index for item in loaded.stimuli("d")}


def test_the_order_of_imagenet_is_that_of_timm():
    from timm.data import ImageNetInfo

    assert list(imagenet_indices()) == ImageNetInfo().label_names()
    look = "import sys; from classlens.models.imagenet import imagenet_indices as i; i(); print('timm' in sys.modules)"
    assert printed_by([sys.executable, "-c", look]) == "False\n"


@pytest.mark.parametrize(
    "models",
    [
        [PRETRAINED],
        [tiny(1000)],
        [tiny(1000, weights={"train": {}})],
        [PRETRAINED, tiny(1000), tiny(weights="random")],
        [tiny(head="head.npz")],
    ],
)
def test_wnids_have_imagenets_indices_where_models_know_them(models):
    lay(*WNIDS)
    np.savez("head.npz", weight=np.zeros((1000, 16), np.float32))
    loaded = config(*models)
    assert indices(loaded) == WNIDS
    assert loaded.classes("d") == 1000
    # The job chooses the same images, from what its key holds.
    assert selection(loaded, {"dataset": "d"})["selection"]["class_indices"] == WNIDS
    assert all(model_options(loaded, name).get("num_classes", 1000) == 1000 for name in loaded.models)
    assert any("n03888257 is 701" in note for note in loaded.notes("d"))
    assert doubts(with_architectures(loaded)) == []


@pytest.mark.parametrize("model", [tiny(weights={"train": {}}), tiny(3), tiny()])
def test_wnids_count_by_position_for_other_models(model):
    lay(*WNIDS)
    loaded = config(model)
    assert indices(loaded) == {name: place for place, name in enumerate(WNIDS)}
    assert model_options(loaded, "m0")["num_classes"] == 3
    assert "class_indices" not in selection(loaded, {"dataset": "d"})["selection"]
    assert doubts(with_architectures(loaded)) == []


def test_a_list_of_classes_is_stronger_than_wnids():
    lay(*WNIDS)
    Path("photos/classes.txt").write_text("\n".join(reversed(WNIDS)))
    assert indices(config(PRETRAINED)) == {"n03888257": 0, "n02102040": 1, "n01440764": 2}


@pytest.mark.parametrize("other", [tiny(3), tiny(weights={"train": {}}), tiny(21843)])
def test_models_of_both_kinds_need_data_sets_of_their_own(other):
    lay(*WNIDS)
    with pytest.raises(InputError, match=r"models\.m1: datasets\.d has ImageNet's class indices.*data set of its own"):
        with_architectures(config(PRETRAINED, other))


def test_names_of_packed_classes_are_wnids_too(working):
    write_parquet(working / "photos" / "a.parquet", [png()] * 6, [0, 1, 2] * 2, names=list(WNIDS))
    assert indices(config(tiny(1000), kind="parquet")) == WNIDS
    assert indices(config(tiny(3), kind="parquet")) == {name: place for place, name in enumerate(WNIDS)}


@pytest.mark.parametrize("folders", [["cat", "dog"], ["n01440764", "n99999999"], ["n01440764", "dog"]])
def test_more_classes_in_the_model_than_in_the_data(folders):
    lay(*folders)
    loaded = with_architectures(config(tiny(1000), tiny(2), tiny(weights={"train": {}})))
    [doubt] = doubts(loaded)
    assert "models.m0: it has 1,000 classes, and datasets.d only 2" in doubt
    assert "in photos/classes.txt" in doubt
    Path("photos/classes.txt").write_text("\n".join(folders))
    assert doubts(with_architectures(config(tiny(1000)))) == []


def test_a_model_of_other_data_is_doubted_for_kinds_without_a_list():
    loaded = config(tiny(1000), kind="digits", root=None)
    [doubt] = doubts(with_architectures(loaded))
    assert "1,000 classes, and datasets.d only 10" in doubt
    assert "classes.txt" not in doubt


def test_names_of_a_head_settle_its_classes():
    lay("cat", "dog")
    told = "models.m0.head: head.npz calls class 0 'dog', datasets.d 'cat' (2 such classes); list"
    for names, doubt in (([], "3 classes"), (["cat", "dog", "emu"], None), (["dog", "Cat", "emu"], told)):
        np.savez("head.npz", weight=np.zeros((3, 16), np.float32), **({"class_names": names} if names else {}))
        found = doubts(with_architectures(config(tiny(head="head.npz"))))
        assert [doubt in one for one in found] == [True] * (doubt is not None)


@pytest.mark.parametrize(
    ("names", "doubt"),
    [
        (["cat", "guinea pig", "emu"], None),
        (["Cat", "guinea_pig, cavy", "emu"], None),
        (["LABEL_0", "LABEL_1", "LABEL_2"], "3 classes, and datasets.d only 2"),
        (["guinea pig", "cat", "emu"], "calls class 0 'guinea pig', datasets.d 'cat' (2 such classes)"),
        (["cat", "Cat", "guinea pig"], "calls class 1 'Cat', datasets.d 'guinea pig'"),
        (["cat", "car"], "calls class 1 'car', datasets.d 'guinea pig'"),
    ],
)
def test_names_that_a_model_brings_are_compared(names, doubt):
    lay("cat", "guinea pig")
    loaded = with_architectures(config(tiny(len(names))))
    facts = {"m0": {**loaded.architectures["m0"], "class_names": names}}
    found = doubts(replace(loaded, architectures=facts))
    assert len(found) == (doubt is not None)
    assert doubt is None or doubt in found[0]


def test_what_is_sound_is_not_doubted():
    for sound in (GOLDEN_CONFIG, tiny_config()):
        assert doubts(with_architectures(load_config(sound))) == []
