"""What is told before a run starts: training images, names, masks, defaults, and how long it takes."""

import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import yaml
from conftest import CHECKOUT, GOLDEN, GOLDEN_DATASET, TINY_MODEL
from made_data import png, write_parquet, write_tar
from PIL import Image
from timm.models import save_for_hf

from classlens.catalog.applicable import require, require_data
from classlens.catalog.configs import load_config
from classlens.check import duration
from classlens.check.findings import check
from classlens.config.architecture import with_architectures
from classlens.errors import InputError
from classlens.extraction.recorder import BatchRecorder
from classlens.models import published

RNG = np.random.default_rng(0)


def folder(root, *classes, images=6):
    for class_id in classes:
        (root / class_id).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(RNG.integers(0, 256, (9, 8, 3), np.uint8)).save(root / class_id / f"{number}.png")


@pytest.fixture
def working(tmp_path, monkeypatch, described_here):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(duration, "ENOUGH", 0.0)  # an image at a time is enough to see which stages there are
    folder(tmp_path / "photos", "cat", "dog")
    return tmp_path


def config(weights="random", **dataset):
    photos = {"kind": "image_folder", "root": "photos", "per_class": 2, "train_per_class": 3, **dataset}
    model = {**TINY_MODEL, "dataset": "photos", "weights": weights}
    return {"datasets": {"photos": photos}, "models": {"m": model}, "extraction": {"threads": 1}}


def look(config, quick=True):
    Path("my.yaml").write_text(yaml.safe_dump(config))
    return check("my.yaml", quick=quick)


@pytest.fixture
def checked(working):
    return lambda quick=True, **changes: look(config(**changes), quick)


NOTHING_LEFT = (
    r"6 images of a class at most are taken for evaluation \(per_class = 6\), none is left for training "
    r"\(train_per_class = 3\): lower per_class"
)


def test_training_without_images_is_told_with_what_to_change(checked):
    [problem] = checked(weights={"train": {}}, per_class=6).problems
    for ask in (
        lambda: require_data(load_config(config({"train": {}}, per_class=6))),
        lambda: require(load_config(config(per_class=6)), "m", "training images", "linear_probe"),
    ):
        with pytest.raises(InputError, match=NOTHING_LEFT):
            ask()
    assert "training needs training images of m" in problem
    with pytest.raises(InputError, match="train_per_class is 0: raise it"):
        require_data(load_config(config({"train": {}}, train_per_class=0)))
    require_data(load_config(config(per_class=6)))  # nothing is trained


def test_fewer_training_images_than_asked_for_are_doubted(checked):
    findings = checked(per_class=4)
    assert findings.problems == []
    [doubt] = [doubt for doubt in findings.doubts if doubt.startswith("datasets")]
    assert doubt.startswith("datasets.photos: 2 of 2 classes have fewer training images than train_per_class = 3")
    assert "cat (2), dog (2); to get more, lower per_class" in doubt
    assert not any(doubt.startswith("datasets") for doubt in checked().doubts)
    text = config(per_class=4)
    del text["datasets"]["photos"]["train_per_class"]
    findings = look(text)
    assert not any(doubt.startswith("datasets") for doubt in findings.doubts)
    assert any("fewer training images than train_per_class = 10" in note for note in findings.notes)


def test_counts_masks_and_default_weights_are_told(checked, working):
    assert "2 of 6 per class for evaluation, 3 of 4 per class for training" in checked().notes[0]
    without = config()
    del without["models"]["m"]["weights"]
    findings = look(without)
    assert any(note.startswith("models.m: weights are `pretrained`, as they are without") for note in findings.notes)
    folder(working / "masks", "cat", "dog")
    for path in (working / "masks").glob("*/*"):
        Image.new("L", (8, 9), 1).save(path)
    assert "datasets.photos: 10 images and 4 masks were read" in checked(quick=False, masks="masks").notes
    (working / "masks/dog/1.png").unlink()
    assert any("datasets.photos.masks: dog/1.png has no mask" in text for text in checked(masks="masks").problems)


def test_the_stages_of_a_run_are_estimated(checked):
    findings = checked(quick=False, weights={"train": {"epochs": 2}})
    assert findings.problems == []
    stages = [note.partition(":")[0] for note in findings.notes]
    assert stages[-6:] == ["data", "training", "extracting", "explaining", "together", "disk"]
    assert duration.UNKNOWN in findings.notes[-2]


@pytest.mark.parametrize("methods", [["chefer", "probe"], pytest.param(None, marks=pytest.mark.release)])
def test_all_stages_of_a_model_that_runs_everything(working, methods):
    text = config() | {"explanations": {"methods": methods}}
    text["models"]["m"]["analyses"] = None
    complete = with_architectures(load_config(text))
    notes, failures = duration.time_notes(complete, {"photos": complete.stimuli("photos")})
    assert failures == []
    assert [note.partition(":")[0] for note in notes] == [
        *("data", "extracting", "attributing", "averaging heads", "ablating heads", "averaging tokens"),
        *("replacing tokens", "looking through the tuned lens", "perturbing attention", "explaining"),
        *("removing tokens", "removing pixels", "reading what heads write", "sums of the tuned lens"),
        *("tuning the lens", "choosing the tuned lens", "linear probes", "together"),
    ]


def test_a_trial_that_fails_is_named(working, monkeypatch):
    def fail(*_):
        raise MemoryError("too much")

    complete = with_architectures(load_config(config()))
    monkeypatch.setattr(BatchRecorder, "__call__", fail)
    _, failures = duration.time_notes(complete, {"photos": complete.stimuli("photos")})
    assert failures == ["models.m: a trial of its extracting failed, as a run's may: too much"]


def test_seconds_per_image_are_those_of_the_fastest_and_the_slowest_repeat(monkeypatch):
    monkeypatch.setattr(time, "perf_counter", iter([0, 0.1, 0, 2, 0, 5, 0, 3]).__next__)
    span = duration.per_image(lambda count: None)
    assert (span.low, span.high) == (0.2, 0.5)
    assert str(duration.Span(0.2, 0.9)) == "less than a second"
    assert str(duration.Span(30, 600) + duration.Span(1, 1)) == "about 31.0 seconds to 10.0 minutes"
    assert str(duration.Span(7200, 7200)) == "about 2.0 hours"


def test_the_papers_files_are_named_with_their_places_and_where_they_are_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    findings = check(CHECKOUT / "config/paper.yaml")
    told = "\n".join(findings.problems)
    for missing in (
        "data/imagenet-s/ImageNetS919/validation (",
        "data/imagenet-s/data/categories/ImageNetS_categories_im919.txt (",
        "data/cifar100/cifar-100-python/meta (",
        "checkpoints/deit_base_trm.pth; published: https://github.com/",
    ):
        assert f"missing in {tmp_path}: {missing}" in told
    for place in ("https://image-net.org", "https://www.cs.toronto.edu/~kriz/"):
        assert place in told
    assert told.count("checkpoints/vit_cifar_16.pth") == 1
    [note] = [note for note in findings.notes if note.startswith("models.vit_b_32:")]
    assert "https://huggingface.co/timm/vit_base_patch32_224.augreg_in21k_ft_in1k (about 353 MB)" in note


def test_weights_in_the_cache_are_found_there(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda repository, file: str(tmp_path / file))
    text = published.published_note("vit_tiny_patch16_224", {})
    assert text.endswith(f"are in {tmp_path / 'model.safetensors'}")
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda repository, file: None)
    assert "will be downloaded" in published.published_note("vit_tiny_patch16_224", {})


def test_missing_training_images_of_a_published_data_set_are_a_note(working):
    shutil.copytree(GOLDEN / "imagenet_s", "data")
    shutil.rmtree("data/ImageNetS919/test")
    (working / "data/ImageNetS919/test_stim_info.csv").unlink()
    model = {**TINY_MODEL, "dataset": "golden", "options": {**TINY_MODEL["options"], "num_classes": 1000}}
    dataset = {**GOLDEN_DATASET, "root": "data"}
    findings = look({"datasets": {"golden": dataset}, "models": {"m": model}})
    assert findings.problems == []
    assert any("data/ImageNetS919/test (training images" in note for note in findings.notes)


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_broken_images_of_shards_take_one_line(checked, working, kind):
    cut = png()[:60]
    if kind == "parquet":
        write_parquet(working / "photos/0.parquet", [png(), *[cut] * 15], [0] * 16)
    else:
        of_image = {"png": cut, "cls": b"0"}
        members = [(f"{key:02}.{name}", content) for key in range(16) for name, content in of_image.items()]
        write_tar(working / "photos/0.tar", [("00.png", png()), *members[1:]])
    [problem] = checked(quick=False, kind=kind, per_class=16, train_per_class=0).problems
    assert re.match(r"datasets\.photos: photos/0\.(tar: 01\.png|parquet: 01) cannot", problem)
    assert "; 14 more like this: 0." in problem


def test_names_of_tensors_are_compared_without_reading_them(working):
    options = {**TINY_MODEL["options"], "num_classes": 2}
    torch.save(timm.create_model(TINY_MODEL["architecture"], **options, init_values=0.1).state_dict(), "w.pth")
    [problem] = look(config(weights="w.pth")).problems
    assert "ls1.gamma" in problem
    assert "set options.init_values" in problem


def test_a_saved_models_class_names_are_compared_with_the_data_set(working):
    model = timm.create_model(TINY_MODEL["architecture"], **{**TINY_MODEL["options"], "num_classes": 2})
    for names, wrong in ((["cat", "dog"], False), (["dog", "cat"], True), (["Katze", "Hund"], True)):
        save_for_hf(model, "saved", model_config={"label_names": names}, model_args=TINY_MODEL["options"])
        own = {**config(weights="pretrained")["models"]["m"], "architecture": "local-dir:saved", "options": {}}
        found = look({**config(), "models": {"m": own}})
        assert not found.problems
        named = [doubt for doubt in found.doubts if "calls class" in doubt]
        assert [f"class 0 {names[0]!r}, datasets.photos 'cat'" in doubt for doubt in named] == [True] * wrong


# What is left out


def test_classes_that_are_skipped_are_named(checked, working):
    folder(working / "photos", "rare", images=1)
    assert any("rare (1)" in problem for problem in checked(per_class=2).problems)
    notes = checked(per_class=2, too_few="skip").notes
    assert "datasets.photos: 1 classes left out (too_few: skip): rare" in notes


GAP = {"options": {**TINY_MODEL["options"], "global_pool": "avg", "class_token": False}, "analyses": None}


@pytest.mark.parametrize(
    ("model", "sections", "doubts", "notes"),
    [
        ({"analyses": ["identifiability"]}, {}, [], []),
        ({"random_twin": False, "analyses": ["identifiability"]}, {}, [], ["m: no random twin is run beside it"]),
        ({"analyses": ["identifiability", "class_vs_context"]}, {},
         ["models.m: class_vs_context left out: it tells class and context tokens apart, but the data set photos of m "
          "has no masks; or take class_vs_context out of models.m.analyses"], []),
        ({"analyses": None}, {}, [], ["has no masks"]),
        (GAP, {}, [], ["has no masks", "which m does not have", "explanations left out: ", "explanations left out: "]),
        ({"analyses": ["faithfulness"]}, {"explanations": {"methods": ["chefer", "random"]}}, [], []),
        (GAP | {"analyses": ["faithfulness"]}, {"explanations": {"methods": ["chefer", "random"]}},
         ["models.m: explanations left out: chefer: it reads the [CLS] token, which this model does not have; or take "
          "chefer out of explanations.methods"], []),
        ({"analyses": ["faithfulness"]}, {"explanations": {"methods": ["probe"]}, "probes": {"blocks": [0]}},
         ["models.m: explanations left out: probe: it comes from linear probes"], []),
        (GAP | {"analyses": None}, {"explanations": {"methods": ["random"], "heatmap_method": "legrad_cls"}},
         ["heatmaps left out: it shows the explanation legrad_cls, which does not apply to m"],
         ["has no masks", "which m does not have"]),
        ({"analyses": ["identifiability"]}, {"explanations": {"methods": ["random"]}},
         ["explanations.methods: no explanation is compared"], []),
        ({"analyses": ["identifiability"]}, {"figures": ["identifiability_comparison", "removal_curves"]},
         ["figures: removal_curves is left out, for no model runs faithfulness"], []),
    ],
)  # fmt: skip
def test_what_is_left_out_is_doubted_where_it_was_asked_for_and_said_elsewhere(working, model, sections, doubts, notes):
    text = config()
    text["models"]["m"] |= {"random_twin": True, **model}
    findings = look(text | sections)
    assert findings.problems == []
    left = [note for note in findings.notes if "left out" in note or "no random twin" in note]
    for lines, wanted in ((findings.doubts, doubts), (left, notes)):
        assert len(lines) == len(wanted), lines
        assert all(any(text in line for line in lines) for text in wanted), lines


def test_a_list_of_explanations_is_for_all_models(working):
    text = config()
    text["models"]["m"]["analyses"] = ["faithfulness"]
    text["models"]["gap"] = {**text["models"]["m"], "options": GAP["options"]}
    text["explanations"] = {"methods": ["chefer", "random"]}
    findings = look(text)
    assert findings.doubts == []
    assert any(note.startswith("models.gap: explanations left out: chefer") for note in findings.notes)


SOUND = "datasets: {d: {kind: image_folder, root: photos, per_class: 2}}\nmodels: {m: {dataset: d, architecture: x}}\n"
TINY = SOUND.replace("architecture: x", "architecture: vit_tiny_patch16_224, KEY")
WORDS = ("2024", "2024-01-01", "on", "~", "[]", "{}")
SECTIONS = ("statistics", "figures", "explanations", "store")


@pytest.mark.parametrize(
    "text",
    [
        *("datasets:\nmodels:\n", "datasets: []\nmodels: 3\n", "datasets: {on: }\nmodels: {no: }\n"),
        *("{}", "~", "3", "[]", "a", "datasets: &d {e: *d}\nmodels: *d\n"),
        *(SOUND.replace("{m:", "{m: 3, n:"), SOUND.replace("root: photos", "root: [photos]")),
        *(SOUND.replace("architecture: x", f"architecture: {word}") for word in WORDS),
        *(SOUND + f"{key}: {value}\n" for key in SECTIONS for value in ("[1]", "{a: 1}", "2024-01-01", ".inf")),
        *(SOUND.replace("d:", f"{name}:", 1) for name in (*WORDS[:4], "1e3", "'a b'", "../x", "''")),
        *(TINY.replace("KEY", f"options: {given}") for given in ("{depth: 2024-01-01}", "{1: 2, on: {a: [~]}}", "[1]")),
        TINY.replace("KEY", "options: {img_size: [1, 2, 3]}"),
        TINY.replace("KEY", "weights: {train: }"),
        *(TINY.replace("KEY", f"weights: {path}, head: {path}") for path in ("''", "photos")),
    ],
)  # fmt: skip
def test_whatever_a_config_holds_is_refused_in_words(working, text):
    (working / "my.yaml").write_text(text)
    assert check("my.yaml", quick=True).problems
