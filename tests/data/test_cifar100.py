"""CIFAR-100 in torchvision's files, made here in small."""

import pickle

import numpy as np
import pytest
from made_data import choice, write_cifar

from classlens.data.cifar100 import Cifar100
from classlens.data.select import select
from classlens.errors import InputError

CHOICE = choice(per_class=2)


@pytest.fixture
def path(tmp_path):
    """The file of evaluation images."""
    return write_cifar(tmp_path) / "cifar-100-python/test"


@pytest.fixture
def cifar(path):
    return Cifar100(str(path.parents[1]), None, "c")


def test_evaluation_is_the_test_file_and_training_the_other(cifar):
    chosen = select(cifar, CHOICE)
    assert [item.file for item in chosen if item.class_id == "aquarium_fish"] == ["test#1", "test#4", "train#1"]
    assert [item.class_index for item in chosen] == [0, 0, 1, 1, 2, 2, 0, 1, 2]
    assert (cifar.class_count(), cifar.has_masks) == (3, False)
    assert [path.rpartition("/")[2] for path in cifar.image_files(chosen)] == ["test", "train", "meta"]
    for ask in (lambda: cifar.mask_files(chosen), lambda: cifar.mask("test#5", "baby")):
        with pytest.raises(InputError, match=r"datasets\.c: CIFAR-100 has no masks"):
            ask()


def test_images_are_planes_of_red_green_and_blue(path, cifar):
    content = pickle.loads(path.read_bytes())
    image = np.asarray(cifar.image("test#5", cifar.digest("test#5")))
    assert np.array_equal(image[7, 11], content["data"][5].reshape(3, 32, 32)[:, 7, 11])
    assert cifar.digest("test#5") != cifar.digest("train#5")


def test_pickles_of_python_2_are_read(path, cifar):
    """The published files were written by Python 2: text is bytes, and numpy's modules had other names."""
    content = pickle.loads(path.read_bytes())
    old = pickle.dumps(content, protocol=2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in old
    path.write_bytes(old)
    assert len(select(cifar, CHOICE)) == 9


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
        (b"\x80\x02}q\x00X", "cifar-100-python/test is not a file of CIFAR-100"),
        (None, r"datasets\.c\.root: .*cifar-100-python/test is missing; unpack"),
    ],
)
def test_other_files_are_refused(path, cifar, content, message, capsys):
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    with pytest.raises(InputError, match=message):
        select(cifar, CHOICE)
    assert "run" not in capsys.readouterr().out


def test_images_of_another_size_are_refused(path, cifar):
    content = pickle.loads(path.read_bytes())
    path.write_bytes(pickle.dumps({**content, "data": content["data"][:, :100]}))
    with pytest.raises(InputError, match="images of 32 x 32 pixels"):
        cifar.digest("test#0")
