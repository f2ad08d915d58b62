"""CIFAR-100 in torchvision's files, made here in small."""

import pickle

import numpy as np
import pytest
from made_data import write_cifar

from classlens.data.raw import open_raw
from classlens.data.select import class_count, has_masks, raw_images, raw_masks, select
from classlens.errors import InputError


@pytest.fixture
def root(tmp_path):
    return write_cifar(tmp_path)


def dataset(root):
    return {
        "kind": "cifar100", "root": str(root), "masks": None, "per_class": 2, "train_per_class": 1,
        "exclude_classes": [], "too_few": "error",
    }  # fmt: skip


def test_evaluation_is_the_test_file_and_training_the_other(root):
    chosen = select(dataset(root))
    assert [item.file for item in chosen if item.class_id == "aquarium_fish"] == ["test#1", "test#4", "train#1"]
    assert [item.class_index for item in chosen] == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    assert class_count(dataset(root)) == 3
    assert not has_masks(dataset(root))
    names = [path.rpartition("/")[2] for path in raw_images(dataset(root), chosen)]
    assert names == ["test", "train", "meta"]
    with pytest.raises(InputError, match=r"datasets\.c: CIFAR-100 has no masks"):
        raw_masks(dataset(root), chosen, "c")


def test_images_are_planes_of_red_green_and_blue(root):
    content = pickle.loads((root / "cifar-100-python/test").read_bytes())
    raw = open_raw("cifar100", str(root))
    image = np.asarray(raw.image("test#5", raw.digest("test#5")))
    assert np.array_equal(image[7, 11], content["data"][5].reshape(3, 32, 32)[:, 7, 11])
    assert raw.digest("test#5") != raw.digest("train#5")
    with pytest.raises(InputError, match="changed after it was listed"):
        raw.image("test#5", raw.digest("test#4"))
    with pytest.raises(InputError, match="no masks"):
        raw.mask("test#5", "baby")


def test_pickles_of_python_2_are_read(root):
    """The published files were written by Python 2: text is bytes, and numpy's modules had other names."""
    path = root / "cifar-100-python/test"
    content = pickle.loads(path.read_bytes())
    old = pickle.dumps(content, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    path.write_bytes(old)
    assert len(select(dataset(root))) == 9


class Harmful:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"fine_labels": Harmful()}, "it wants to call builtins.print"),
        ({"labels": [0]}, "it has no fine_labels"),
        ([0], "it has no fine_labels"),
        ({"fine_labels": [5]}, "image 0 has the class 5 of 3"),
    ],
)
def test_other_files_are_refused(root, content, message, capsys):
    (root / "cifar-100-python/test").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        select(dataset(root))
    assert "run" not in capsys.readouterr().out


def test_cut_off_and_missing_files_are_named(root):
    path = root / "cifar-100-python/test"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cifar-100-python/test is not a file of CIFAR-100"):
        select(dataset(root))
    path.unlink()
    with pytest.raises(InputError, match=r"datasets\.c\.root: .*cifar-100-python/test is missing; unpack"):
        select(dataset(root), "c")


def test_images_of_another_size_are_refused(root):
    path = root / "cifar-100-python/test"
    content = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**content, "data": content["data"][:, :100]}))
    with pytest.raises(InputError, match="images of 32 x 32 pixels"):
        open_raw("cifar100", str(root)).digest("test#0")
