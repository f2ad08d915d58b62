"""The runner, with every pass: batches, shards and memory leave no trace, and what is wrong ends the job."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from layer_files import random_labels, write_labels
from tiny_transformers import FAMILIES, load_small, write_small

from classlens.catalog.analyses import PASSES
from classlens.declared import load
from classlens.errors import InputError
from classlens.explanations.gradient import gradient
from classlens.hdf5 import RowWriter
from classlens.joining import join
from classlens.models.build import build
from classlens.passes import run
from classlens.passes.attribution import AttributeLogits
from classlens.passes.base import Part
from classlens.passes.explanation import Explanation
from classlens.passes.extraction import Extraction
from classlens.passes.gather import gather
from classlens.passes.run import run_pass
from classlens.passes.sums import add_sums, read_sums, write_sums
from classlens.passes.token_perturbation import PerturbTokens
from classlens.terms import block_name

CLASSES = [5, 1, 0, 6, 2]
IMAGES, FAMILY = len(CLASSES), "distilled"
SHARDS = ((0, 2), (2, 3), (3, 5))


class Case:
    """A declared pass with its settings and the files that it reads."""

    def __init__(self, name, settings, inputs):
        self.name, self.settings, self.inputs = name, settings, inputs
        codes = (PASSES[name].code, PASSES[name].sums, PASSES[name].finish)
        self.of, self.sums, self.finish = (load(code) if code else None for code in codes)


@dataclass
class Study:
    """A small model, files that passes read, and every pass."""

    folder: Path
    files: tuple[str, str]
    network: dict[str, Any]
    loaded: Any
    cases: dict[str, Case]

    def rows(self, case, path, of=None, **given):
        """Write rows as a shard's job does: from sums that were made before."""
        summed = {"summed": self.summed(case)} if case.sums else {}
        given = {**self.network, **case.settings, **case.inputs, **summed, **given}
        run_pass(*self.files, str(path), of=of or case.of, **given)
        return path

    def summed(self, case):
        path = self.folder / f"{case.name}_summed.h5"
        if not path.exists():
            shards = [str(self.folder / f"{case.name}_sums_{start}.h5") for start, _ in SHARDS]
            for (start, stop), shard in zip(SHARDS, shards, strict=True):
                write_sums(*self.files, shard, of=case.sums, start=start, stop=stop, **self.network)
            add_sums(shards, str(path))
        return str(path)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    _, pixels, weights, network = write_small(folder, FAMILY, CLASSES)
    files, named = (
        (str(pixels), str(weights)),
        {name: str(folder / f"{name}.h5") for name in ("shard", "logit", "maps")},
    )
    layers, explanation = [str(folder / f"{block}.h5") for block in range(2)], str(folder / "explanation.h5")
    run_pass(*files, named["shard"], of=Extraction, **network)
    gather([named["shard"]], layers, str(folder / "output.h5"))
    run_pass(*files, named["logit"], of=AttributeLogits, **network)
    run_pass(*files, explanation, of=Explanation, explain=gradient, has_maps=True, **network)
    labels = write_labels(folder / "labels.h5", random_labels(3, IMAGES, 16))
    draw = np.random.default_rng(4)
    with h5py.File(named["maps"], "w") as file:
        for block in range(2):
            file[f"{block_name(block)}/weight"] = draw.normal(0, 0.1, (24, 24)).astype(np.float32)
            file[f"{block_name(block)}/bias"] = draw.normal(0, 0.1, 24).astype(np.float32)
    cases = [
        Case("extract", {}, {}),
        Case("attribute_logits", {}, {}),
        Case("head_evidence", {}, {"output": str(folder / "output.h5"), "labels": [labels]}),
        Case("head_effects", {}, {"attribution": [named["logit"]]}),
        Case("token_effects", {"norm": None, "seed": 4, "has_labels": True}, {"layers": layers, "labels": [labels]}),
        Case("look_through_tuned_lens", {}, {"maps": named["maps"]}),
        Case("perturb_attention", {"kind": "no_cls"}, {}),
        Case("perturb_tokens", {"kind": "no_context"}, {"labels": labels}),
        Case("explanation", {"explain": gradient, "has_maps": True}, {}),
        Case("remove_tokens", {"counts": [1, 8, 16], "seeds": []}, {"explanation": [explanation]}),
        Case("remove_pixels", {"seeds": [3]}, {"explanation": []}),
    ]
    return Study(folder, files, network, load_small(str(weights), network), {case.name: case for case in cases})


@pytest.fixture(params=PASSES)
def case(study, request, monkeypatch):
    monkeypatch.setattr(run, "load_network", lambda *_, **__: study.loaded)
    return study.cases[request.param]


def alone(of, most=IMAGES):
    """A pass whose numbers do not depend on batches: it takes images one by one, and more than `most` not at all."""

    class Alone(of):
        def __call__(self, images, classes, part):
            if len(images) > most:
                raise torch.OutOfMemoryError("simulated")
            found = []
            for image in range(len(images)):
                one = slice(image, image + 1)
                rows = {name: {key: values[one] for key, values in read.items()} for name, read in part.rows.items()}
                found.append(super().__call__(images[one], classes[one], Part(part.start + image, rows)))
            # What extraction keeps of blocks has images in its second place.
            axis = {name: int(len(values) != 1) for name, values in found[0].items()}
            return {name: torch.cat([one[name] for one in found], axis[name]) for name in found[0]}

    return Alone


def test_batches_shards_and_memory_leave_no_trace(study, case, tmp_path, caplog):
    whole = study.rows(case, tmp_path / "whole.h5", batch_size=1)
    for size, most in ((3, 3), (IMAGES, IMAGES), (IMAGES, 2)):
        found = study.rows(case, tmp_path / f"{size}_{most}.h5", alone(case.of, most), batch_size=size)
        assert found.read_bytes() == whole.read_bytes()
    assert "batches of 2" in caplog.text
    shards = [
        str(study.rows(case, tmp_path / f"shard_{start}.h5", batch_size=1, start=start, stop=stop))
        for start, stop in SHARDS
    ]
    join(shards, str(tmp_path / "joined.h5"))
    assert (tmp_path / "joined.h5").read_bytes() == whole.read_bytes()


def test_columns_are_known_without_weights_and_batches_change_rounding_alone(study, case, tmp_path):
    architecture, options = FAMILIES[FAMILY]
    columns = case.of.columns(build(architecture, options, device="meta"), **case.settings)
    one, other = (study.rows(case, tmp_path / f"{size}.h5", batch_size=size) for size in (1, 3))
    with h5py.File(one) as expected, h5py.File(other) as found:
        written = []
        expected.visititems(lambda name, item: written.append(name) if isinstance(item, h5py.Dataset) else None)
        assert sorted(written) == sorted(columns)
        assert dict(found.attrs).keys() == dict(expected.attrs).keys()
        for name, column in columns.items():
            values = found[name][:]
            assert (values.shape, values.dtype) == ((IMAGES, *column.shape), np.dtype(column.dtype)), name
            if values.dtype.kind == "f":
                assert values == pytest.approx(expected[name][:], rel=1e-3, abs=1e-4, nan_ok=True), name
            else:
                assert np.array_equal(values, expected[name]), name


@pytest.mark.parametrize("name", [name for name, one in PASSES.items() if one.sums])
def test_sums_in_one_job_and_in_shards_say_the_same(study, name, tmp_path):
    case = study.cases[name]
    given = {**study.network, **case.settings, **case.inputs}
    write_sums(*study.files, str(tmp_path / "all.h5"), of=case.sums, start=0, stop=IMAGES, **study.network)
    whole, added = read_sums([str(tmp_path / "all.h5")]), read_sums([study.summed(case)])
    assert added.count == whole.count == IMAGES
    assert added.totals["sum"] == pytest.approx(whole.totals["sum"], rel=1e-5, abs=1e-5)
    run_pass(*study.files, str(tmp_path / "whole.h5"), of=case.of, sums=case.sums, **given)
    with h5py.File(tmp_path / "whole.h5") as one, h5py.File(study.rows(case, tmp_path / "rows.h5")) as other:
        assert other["effect"][:] == pytest.approx(one["effect"][:], abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("name", [name for name, one in PASSES.items() if one.finish])
def test_rows_are_finished_whole_as_shards_are(study, name, tmp_path):
    case = study.cases[name]
    given = {**study.network, **case.settings, **case.inputs}
    made, expected = ([str(tmp_path / f"{kind}.{end}") for end in ("csv", "h5")] for kind in ("whole", "shards"))
    run_pass(*study.files, of=case.of, finish=case.finish, **dict(zip(case.of.finished, made, strict=True)), **given)
    assert sorted(tmp_path.iterdir()) == [Path(path) for path in made]
    shards = [str(study.rows(case, tmp_path / f"shard_{start}.h5", start=start, stop=stop)) for start, stop in SHARDS]
    case.finish(shards, *expected)
    assert [Path(path).read_bytes() for path in made] == [Path(path).read_bytes() for path in expected]


@pytest.mark.parametrize("error", [InputError("found late"), MemoryError("found late"), OSError("found late")])
@pytest.mark.parametrize("place", ["checked", "append"])
def test_an_error_after_the_device_ends_the_job(study, tmp_path, monkeypatch, error, place):
    """Also one that smaller batches would help against if the device had it."""
    calls, size = [], 2 if isinstance(error, MemoryError) else 1

    class Counted(Extraction):
        def __call__(self, *arguments):
            calls.append(1)
            return super().__call__(*arguments)

    def fail(*_):
        raise error

    monkeypatch.setattr(*((Counted, place) if place == "checked" else (RowWriter, place)), fail)
    with pytest.raises(type(error), match="found late"):
        run_pass(*study.files, str(tmp_path / "rows.h5"), of=Counted, **study.network | {"batch_size": size})
    assert len(calls) < IMAGES


def test_an_unreadable_image_ends_the_job(study, tmp_path):
    pixels = str(tmp_path / "pixels.h5")
    with h5py.File(study.files[0]) as good, h5py.File(pixels, "w") as bad:
        bad["class_index"] = good["class_index"][:]
        bad.create_dataset("pixels", data=good["pixels"][:], chunks=(1, *good["pixels"].shape[1:]), compression="gzip")
        bad["pixels"].id.write_direct_chunk((3, 0, 0, 0), b"no deflate stream")
    with pytest.raises(OSError, match="read"):
        run_pass(pixels, study.files[1], str(tmp_path / "rows.h5"), of=Extraction, **study.network)


def refused(study, folder, message, pixels=None, **given):
    with pytest.raises(InputError, match=message):
        run_pass(pixels or study.files[0], study.files[1], str(folder / "rows.h5"), **given, **study.network)
    assert not (folder / "rows.h5").exists()


@pytest.mark.parametrize("shape", [(IMAGES, 49), (IMAGES - 1, 16)])
def test_an_input_that_does_not_fit_is_named(study, tmp_path, shape):
    labels = write_labels(tmp_path / "labels.h5", np.zeros(shape, int))
    message = rf"labels\.h5: label is {re.escape(str(shape))}, .* {IMAGES} images and rows of \(16,\)"
    refused(study, tmp_path, message, of=PerturbTokens, kind="no_class", labels=labels)


def test_a_label_that_is_no_class_is_named(study, tmp_path):
    pixels = str(tmp_path / "wrong.h5")
    with h5py.File(study.files[0]) as good, h5py.File(pixels, "w") as bad:
        bad["pixels"], bad["class_index"] = good["pixels"][:], np.array([0, 7, 0, 0, 0])
    refused(study, tmp_path, r"wrong\.h5: class 7 is none of the model's classes 0\.\.6", pixels, of=Extraction)
