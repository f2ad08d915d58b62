"""Texts as classes: zero-shot logits are the source library's own, for CLIP and SigLIP."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from declared_jobs import described as job_params
from test_certificate import MODEL, PICTURES, bring, work_in
from test_certificate import config as config_of
from test_huggingface import TEXT, VIT, made
from test_openclip import VISION
from typer.testing import CliRunner

from classlens import Lens, cli
from classlens.catalog import files, settings
from classlens.config.architecture import with_architectures
from classlens.csvfile import read_table
from classlens.errors import InputError
from classlens.measures.head_words import name_heads
from classlens.models.canonical import load_model
from classlens.shipped import COMMON_WORDS, PACKAGE
from classlens.sources.bring import certified
from classlens.sources.certificate import certify
from classlens.sources.find import find, load
from classlens.sources.texts import forms_of, tower_of, with_texts
from classlens.sources.vocabulary import write_vocabulary

open_clip, transformers = pytest.importorskip("open_clip"), pytest.importorskip("transformers")

WORDS = ["cat", "dog", "a", "photo", "of", "water"]
TEXTS = ["cat", "dog", "water dog"]
PLAIN = "vit_tiny_patch16_224"
TEMPLATES = ["a photo of {}", "a {} of water"]
SPOKEN = {**TEXT, "max_position_embeddings": 9, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3}
CLIP = ("CLIPModel", "CLIPConfig", {"vision_config": VIT, "text_config": SPOKEN, "projection_dim": 16})
SIGLIP = ("SiglipModel", "SiglipConfig", {"vision_config": VIT, "text_config": {**SPOKEN, "projection_size": 24}})
IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    names = ["<pad>", "<bos>", "<unk>", "<eos>", *WORDS]
    made = Tokenizer(models.WordLevel({name: place for place, name in enumerate(names)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing("<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 3)])
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, **special)


def of_transformers(folder, case):
    model = made(*case)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    padding = "max_length" if case is SIGLIP else True

    def logits(prompts):
        texts = tokenizer()(prompts, return_tensors="pt", padding=padding, max_length=9, truncation=True)
        return model(pixel_values=IMAGES, **texts)

    return logits


def of_open_clip(folder):
    torch.manual_seed(0)
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 20, "vision_cfg": VISION, "text_cfg": text}
    model = open_clip.CLIP(**config, init_logit_bias=-3.0).eval()
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    described = {"model_cfg": {**config, "init_logit_bias": -3.0}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    return model


@pytest.mark.parametrize("case", [CLIP, SIGLIP], ids=["CLIP", "SigLIP"])
@torch.no_grad()
def test_zero_shot_logits_are_those_of_transformers(case, tmp_path):
    logits = of_transformers(tmp_path, case)
    expected = logits(TEXTS).logits_per_image
    lens, tower, images = Lens.load(tmp_path, texts=TEXTS), tower_of(tmp_path), load(tmp_path)(IMAGES)
    view = lens(IMAGES)
    assert (tower.bias != 0) == (case is SIGLIP)
    torch.testing.assert_close(tower.frozen(torch.from_numpy(view.output), images), expected, rtol=0, atol=1e-5)
    assert view.names(view.predictions(1)[:, 0]).tolist() == [TEXTS[place] for place in expected.argmax(-1)]
    assert view.rank(class_index="water dog").shape == (2, 4, 17 if case is CLIP else 16)
    # Templates: the mean of unit embeddings, of length 1 again.
    each = [logits([form.format(text) for form in TEMPLATES]).text_embeds.mean(0) for text in TEXTS]
    rows = torch.nn.functional.normalize(torch.stack(each), dim=-1)
    again = torch.from_numpy(lens.with_texts(TEXTS, TEMPLATES)(IMAGES).output)
    torch.testing.assert_close(again, tower.scale * images @ rows.T + tower.bias, rtol=0, atol=1e-5)


@torch.no_grad()
def test_zero_shot_logits_are_those_of_open_clip(tmp_path):
    model = of_open_clip(tmp_path)
    images, texts, scale, *bias = model(IMAGES, open_clip.get_tokenizer(f"local-dir:{tmp_path}")(TEXTS))
    expected = scale * images @ texts.T + bias[0]
    tower, output = tower_of(tmp_path), torch.from_numpy(Lens.load(tmp_path, texts=TEXTS)(IMAGES).output)
    assert tower.bias == -3
    torch.testing.assert_close(tower.frozen(output, load(tmp_path)(IMAGES)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", [CLIP, SIGLIP, None], ids=["CLIP", "SigLIP", "open_clip"])
@torch.no_grad()
def test_zero_shot_logits_are_certified(case, tmp_path):
    of_open_clip(tmp_path) if case is None else of_transformers(tmp_path, case)
    name, found = str(tmp_path), find(tmp_path)
    texts = {"texts": TEXTS, "templates": TEMPLATES}
    model, told = certified(name, PICTURES, {**found.transform, "size": 32}, texts, name)[1:]
    zero_shot = told["zero_shot"]
    assert (zero_shot["texts"], told["images"], told["agree"]) == (3, 3, 3)
    assert zero_shot["difference"] <= 1e-5 <= zero_shot["largest"]
    assert re.search(r", zero-shot logits of 3 texts( to \de-\d\d)?, 3 of 3 predictions$", told["text"])
    plain = load(tmp_path)
    spoken = with_texts(plain, tower_of(tmp_path), TEXTS, TEMPLATES)
    assert torch.equal(spoken.model.head.weight, model.head.weight)
    said = f"zero-shot logits differ from {found.library}'s? own by .*, more than 0.0001 of it"
    for spoilt in (spoken.model.head.weight[1], spoken.model.head.bias):
        kept = spoilt.clone()
        spoilt.copy_(1.1 * kept + 0.1)
        with pytest.raises(InputError, match=said):
            certify(name, found, plain, PICTURES, found.transform, spoken)
        spoilt.copy_(kept)


@torch.no_grad()
def test_texts_are_words_of_heads_and_the_model_is_shared(tmp_path):
    of_transformers(tmp_path, CLIP)
    lens = Lens.load(tmp_path)
    before = lens(IMAGES).output
    named = lens.with_texts(TEXTS)
    assert named.model.blocks[0].mlp.fc1.weight is lens.model.blocks[0].mlp.fc1.weight
    assert np.array_equal(lens(IMAGES).output, before)
    directions = named.directions(["cat", "water"])
    row = named.model.head.weight[0] / tower_of(tmp_path).scale
    np.testing.assert_allclose(directions["cat"], row, atol=1e-6)
    assert set(named(IMAGES).words(directions, draws=99)["word"]) == {"cat", "water"}
    # By a text tower that is named, on a model that was not loaded from it.
    other = Lens(load(tmp_path)).with_texts(TEXTS, tower=tmp_path)
    np.testing.assert_allclose(other(IMAGES).output, named(IMAGES).output, atol=1e-6)


@torch.no_grad()
def test_texts_of_a_command_are_the_classes(tmp_path):
    folder, picture = tmp_path / "clip", tmp_path / "a.png"
    folder.mkdir()
    of_transformers(folder, CLIP)
    PICTURES[0].save(picture)
    texts = [word for text in TEXTS for word in ("--texts", text)]

    def typed(*words, status=0):
        done = CliRunner().invoke(cli.app, [*map(str, words), *texts])
        assert done.exit_code == status, (done.output, done.exception)
        return done.output

    typed("look", folder, picture, "--no-open", "-o", tmp_path / "look.html")
    about = json.loads((tmp_path / "look.html").read_text().partition('id="about">')[2].partition("</script>")[0])
    output = Lens.load(folder, texts=TEXTS)(picture).output[0]
    assert about["classes"] == TEXTS
    assert about["images"][0]["top5"] == np.argsort(-output).tolist()
    typed("explain", folder, picture, "--method", "legrad", "--output", tmp_path / "explained", "--class", "water dog")
    row = pd.read_csv(tmp_path / "explained/explanations.csv").iloc[0]
    assert row["class"] == "water dog"
    assert row["probability"] == pytest.approx(float(torch.from_numpy(output).softmax(0)[2]), rel=1e-4)
    said = typed("look", "shipped:vit_cls", picture, "--no-open", "-o", tmp_path / "none.html", status=2)
    assert "shipped:vit_cls has no tower for texts" in said


def test_what_does_not_go_is_said(tmp_path):
    of_transformers(tmp_path, CLIP)
    assert forms_of("openai")[79].format("cat") == open_clip.OPENAI_IMAGENET_TEMPLATES[79]("cat")
    for texts in ("cat", ["cat"], ["cat", "cat"]):
        with pytest.raises(InputError, match="two or more that differ"):
            Lens.load(tmp_path, texts=texts)
    for templates in ("clip", ["a photo"], []):
        with pytest.raises(InputError, match=r"templates: give openai, or a list of sentences with \{\}"):
            Lens.load(tmp_path, texts=TEXTS, templates=templates)
    with pytest.raises(InputError, match="texts need a text tower; open the model with Lens"):
        Lens(load(tmp_path)).with_texts(TEXTS)
    with pytest.raises(InputError, match="embeddings of texts have 16 numbers, those of images 3"):
        with_texts(with_texts(load(tmp_path), tower_of(tmp_path), TEXTS).model, tower_of(tmp_path), TEXTS)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer .*; save it beside the model"):
        Lens.load(tmp_path, texts=TEXTS)
    made("ViTModel", "ViTConfig", VIT).save_pretrained(tmp_path / "vit")
    with pytest.raises(InputError, match="is a ViTModel, whose texts cannot be embedded: take a whole CLIP or SigLIP"):
        Lens.load(tmp_path / "vit", texts=TEXTS)


@pytest.fixture
def working(tmp_path, monkeypatch):
    """A folder with a CLIP, pictures of five classes and the texts that name these."""
    work_in(tmp_path, monkeypatch)
    Path("clip").mkdir()
    Path("classes.txt").write_text("cat\n\nwater dog\n dog\nwater\nphoto\n")
    return of_transformers("clip", CLIP)


CLASSES = ["cat", "water dog", "dog", "water", "photo"]


@torch.no_grad()
def test_a_config_takes_texts_as_a_head(working):
    head = {"texts": "classes.txt", "templates": ["a photo of {}"]}
    complete = with_architectures(config_of(weights="clip", head=head))
    known = complete.architecture("m")
    assert (known["num_classes"], complete.architecture("m-random")["num_classes"]) == (5, 5)
    assert {"clip/config.json", "clip/tokenizer.json", "clip/model.safetensors"} <= {*files.checkpoint(complete, MODEL)}
    # The words are part of the key, and where they lie is not.
    assert settings.texts(complete, MODEL) == {"texts": {"texts": CLASSES, "templates": ["a photo of {}"]}}
    hub = config_of(weights="clip", head={"texts": CLASSES, "tower": "hf-hub:a/b"})
    assert settings.texts(hub, MODEL)["texts"] == {"texts": CLASSES, "templates": None, "tower": "hf-hub:a/b"}
    assert settings.texts(config_of(weights="clip"), MODEL) == {}
    told = bring(complete)["certificate"]
    assert (told["certified"], told["zero_shot"]["texts"]) == (True, 5)
    ours = load_model("w.safetensors", *known["built_as"])(IMAGES)
    expected = working([f"a photo of {text}" for text in CLASSES]).logits_per_image
    torch.testing.assert_close(tower_of("clip").frozen(ours, load("clip")(IMAGES)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("vocabulary", "model", "said"),
    [
        (None, {"head": {"texts": ["cat"]}}, "too short"),
        (None, {"head": {"texts": ["cat", "cat"]}}, "non-unique"),
        (None, {"head": {"templates": "openai"}}, "'texts' is a required property"),
        (None, {"head": {"texts": "none.txt"}}, r"head\.texts: none\.txt: .*No such file.*give a list, or a text file"),
        (None, {"head": {"texts": TEXTS}, "architecture": PLAIN}, "texts need weights that say which model"),
        ("none.txt", {}, r"words\.vocabulary: there is no file 'none\.txt'; give `common`, or a file"),
        ("common", {"architecture": PLAIN, "weights": "pretrained"}, "m has no text tower; take null"),
        ("common", {"weights": "torchvision:vit_b_16"}, "m has no text tower; take null"),
    ],
)
def test_a_config_says_what_texts_and_vocabularies_lack(vocabulary, model, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        config_of(vocabulary and {"vocabulary": vocabulary}, **{"weights": "clip", **model})


@torch.no_grad()
def test_a_vocabulary_names_heads(working):
    Path("words.txt").write_text("# of test\nwater dog\n\ncat\nwater dog\n photo\n")
    words = {"vocabulary": "words.txt", "templates": TEMPLATES}
    complete = with_architectures(config_of(words, weights="clip"))
    assert {"clip/tokenizer.json", "clip/model.safetensors"} <= {*files.tower(complete, MODEL)}
    # The twin's heads are compared with the same words, embedded by the same key.
    for model in (MODEL, {"model": "m-random"}):
        told = job_params("embed_vocabulary", complete, model, PACKAGE.parent)
        assert told["config"] == {"templates": TEMPLATES, "published": []}
        read = files.tower(complete, model), files.listed_words(complete, model)
        write_vocabulary(*read, f"{model['model']}.h5", **told["config"], **told["local"])
    assert Path("m.h5").read_bytes() == Path("m-random.h5").read_bytes()
    with h5py.File("m.h5") as file:
        rows = file["direction"][:]
    expected = Lens.load("clip").directions(["water dog", "cat", "photo"], TEMPLATES)
    np.testing.assert_allclose(rows, [*expected.values()], atol=1e-6)
    # Heads that write one axis each: that of the last word, and one across all words.
    across = np.linalg.svd(rows)[2][-1]
    axes = np.stack([rows[2] / np.linalg.norm(rows[2]), across])[None, :, :, None]
    with h5py.File("spans.h5", "w") as file:
        file.update({"axes": axes, "variance": np.ones((1, 2, 1)), "trace": np.ones((1, 2)), "classes": rows[:2]})
    counts = {"per_head": 1, "draws": 99, "seed": 0, "correction": "holm", "confidence": 0.95}
    name_heads("spans.h5", "none.csv", [], ["m.h5"], "heads.csv", **counts)
    table = read_table("heads.csv").set_index("head")
    assert table.loc[0, "word"] == "photo"
    assert table.index.tolist() == [0]


def test_the_words_that_come_with_the_package_are_common_ones():
    lines = COMMON_WORDS.read_text().splitlines()
    words = [line for line in lines if not line.startswith("#")]
    assert len(words) == len({*words}) == 3000
    assert {"water", "red", "dog", "tree"} <= {*words}
    assert all(word.isalpha() and word.islower() for word in words)
    assert any("Princeton University" in line for line in lines)
