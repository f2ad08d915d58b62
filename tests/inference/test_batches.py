"""Batches that fit, models that are left as they were, and classes that models know."""

import subprocess
import sys
from contextlib import suppress

import pytest
import torch
from conftest import CHECKOUT
from tiny_transformers import images_of, load_small, transformer, write_small

from classlens.classes import check_classes
from classlens.errors import InputError
from classlens.inference.batches import over_images, with_oom_backoff
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import read_classes

RUN_NO_MODEL = (
    "catalog.rules", "explanations.random", "measures.explanation_quality", "measures.faithfulness_auc",
    "measures.linear_probes", "measures.perturbations", "measures.segmentation_scores", "passes.gather",
    "passes.gather_tuned_lens", "passes.removal_curves", "joining", "probes.importance",
)  # fmt: skip


def test_batches_are_halved_until_they_fit():
    seen = []

    def run(part):
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("simulated")
        seen.extend(range(part.start, part.stop))

    with_oom_backoff(11, 8, run)
    assert seen == list(range(11))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("simulated"), RuntimeError("something else")])
def test_what_smaller_batches_do_not_help_against_is_an_error(error):
    def run(_part):
        raise error

    with pytest.raises(type(error), match=str(error)):
        with_oom_backoff(4, 4, run)


@pytest.mark.parametrize("numbers", [None, range(2, 5), range(4, 5), range(3, 3)])
def test_images_keep_their_numbers_whichever_are_run(tmp_path, numbers):
    _, pixels, weights, network = write_small(tmp_path, "plain", [0, 1, 2, 3, 4])
    loaded = load_small(weights, network)
    everything, seen = images_of(pixels)[0], []

    def run(images, part):
        if len(images) > 1:
            raise torch.OutOfMemoryError("simulated")
        assert torch.equal(images, everything[part])
        seen.extend(range(part.start, part.stop))

    over_images(loaded, pixels, 2, "looking", run, numbers)
    assert seen == list(range(5) if numbers is None else numbers)


def test_frozen_eval_mode_leaves_a_model_as_it_was():
    model = transformer("plain").train()
    model.blocks[0].eval()
    model.head.weight.requires_grad_(False)
    before = [module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]
    with suppress(KeyError), frozen_eval_mode(model):
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise KeyError
    assert ([module.training for module in model.modules()], [p.requires_grad for p in model.parameters()]) == before


def test_a_class_that_the_model_lacks_is_refused(tmp_path):
    _, pixels, _, _ = write_small(tmp_path, "plain", [0, 7])
    assert read_classes(pixels, 8).tolist() == [0, 7]
    with pytest.raises(InputError, match=r"pixels\.h5: class 7 is none of the model's classes 0\.\.6"):
        read_classes(pixels, 7)
    with pytest.raises(InputError, match="class -1 is none"):
        check_classes(torch.tensor([6, -1]).numpy(), 7)


def test_what_runs_no_model_imports_no_torch():
    imports = ", ".join(f"classlens.{module}" for module in RUN_NO_MODEL)
    program = f"import sys, {imports}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
