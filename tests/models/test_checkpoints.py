"""What is taken of a checkpoint, compared with timm's own loader and with the model that was saved."""

import argparse
import gzip
import json
import os
import re
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from classlens.errors import InputError
from classlens.models import remedy
from classlens.models.build import build
from classlens.models.foreign import folder, kind_of
from classlens.models.saved import PREFERRED, SUFFIXES
from classlens.models.weights import assemble, fill_from_file, look_at_file, write_weights

NAME = "vit_tiny_patch16_224"
OPTIONS = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 3}
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def trials_are_built_once():
    """Refusals try dozens of options, the same in every test."""
    build_once = cache(lambda name, options, device: build(name, dict(options), device=device))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remedy, "build", lambda name, options, device: build_once(name, tuple(options.items()), device))
        yield


def tiny(seed=0, name=NAME, **options):
    torch.manual_seed(seed)
    model = timm.create_model(name, **{**OPTIONS, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn_like(parameter))
    return model.eval()


def ours(path, name=NAME, options=None, **more):
    return assemble(Path(path), architecture=name, options={**OPTIONS, **(options or {})}, origin="file", **more)


def same(one, other):
    with torch.inference_mode():
        return torch.equal(one(IMAGES), other(IMAGES))


def under(prefix, model):
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


@pytest.fixture
def saved(tmp_path):
    """Saves a checkpoint and returns where."""

    def save(content, name="w.pth", **how):
        torch.save(content, tmp_path / name, **how)
        return tmp_path / name

    return save


FIRST, SECOND = tiny(1), tiny(2)

# Files that timm.create_model(checkpoint_path=...) reads.
READ_BY_TIMM = {
    "bare": under("", FIRST),
    "state_dict": {"state_dict": under("", FIRST), "epoch": 3},
    "ema before the other": {"state_dict": under("", SECOND), "state_dict_ema": under("", FIRST)},
    "ema of timm's old scripts": {"model": under("", SECOND), "model_ema": under("module.", FIRST)},
    "state_dict before model": {"model": under("", SECOND), "state_dict": under("", FIRST)},
    "an unknown second table": {"state_dict": under("", FIRST), "teacher": under("", SECOND)},
    "no ema yet": {"state_dict": under("", FIRST), "state_dict_ema": None},
    "wrappers": under("module._orig_mod.", FIRST),
    "wrappers, partly": {("module." if i % 2 else "") + n: t for i, (n, t) in enumerate(FIRST.state_dict().items())},
    "arguments": {"model": under("", FIRST), "args": argparse.Namespace(lr=0.1, sizes=[1, 2])},
    "half": {name: tensor.half() for name, tensor in FIRST.state_dict().items()},
    "bfloat16": {name: tensor.bfloat16() for name, tensor in FIRST.state_dict().items()},
}


@pytest.mark.parametrize("name", [*READ_BY_TIMM, "legacy"])
def test_what_timm_reads_means_the_same(name, saved):
    content, legacy = READ_BY_TIMM["arguments" if name == "legacy" else name], name == "legacy"
    path = saved(content, "w.ckpt", _use_new_zipfile_serialization=not legacy)
    assert same(ours(path), timm.create_model(NAME, checkpoint_path=path, **OPTIONS).eval())


def timm_pretrained(name, path, **options):
    """Return a model as timm fills it from pretrained weights, with its rules for other names and sizes."""
    overlay = {"file": str(path), "source": None, "hf_hub_id": None, "url": None, "custom_load": False}
    overlay["num_classes"] = OPTIONS["num_classes"]
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **{**OPTIONS, **options}).eval()


def renamed(model, *pairs):
    state = {}
    for name, tensor in model.state_dict().items():
        for old, new in pairs:
            name = name.replace(old, new)
        state[name] = tensor
    return state


def dinov2_with_registers():
    """As facebookresearch/dinov2 saves it: position 0 is that of [CLS], which timm adds to the token."""
    state = {name: tensor for name, tensor in tiny(init_values=0.1).state_dict().items() if "pos_embed" not in name}
    return {
        **state,
        "pos_embed": torch.randn(1, 17, 32),
        "register_tokens": torch.randn(1, 4, 32),
        "mask_token": torch.zeros(1, 32),
    }


GAMMA = ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2")
SCALED = {"init_values": 0.1}
ADAPTED = {
    "another size": (NAME, {}, lambda: under("", tiny(img_size=64))),
    "another size, flexi": ("flexivit_small", {}, lambda: under("", tiny(name="flexivit_small", img_size=64))),
    "deit3": (
        "deit3_small_patch16_224",
        {"no_embed_class": True},
        lambda: renamed(tiny(name="deit3_small_patch16_224", no_embed_class=True), *GAMMA),
    ),
    "dinov2": (NAME, {**SCALED, "reg_tokens": 4, "no_embed_class": True}, dinov2_with_registers),
    "beit": (
        "beit_base_patch16_224",
        {},
        lambda: {
            **tiny(name="beit_base_patch16_224", img_size=64).state_dict(),
            "blocks.0.attn.relative_position_index": torch.zeros(2, 2, dtype=torch.int64),
        },
    ),
    "relpos": ("vit_relpos_small_patch16_224", {}, lambda: under("", tiny(name="vit_relpos_small_patch16_224"))),
    "eva": (
        "eva02_tiny_patch14_224",
        {},
        lambda: {
            **tiny(name="eva02_tiny_patch14_224", img_size=64).state_dict(),
            "rope.freqs_cos": torch.ones(4, 4),
            "mask_token": torch.ones(1, 32),
        },
    ),
}


@pytest.mark.parametrize(("name", "options", "content"), ADAPTED.values(), ids=ADAPTED.keys())
def test_other_names_and_sizes_mean_what_timm_makes_of_them(name, options, content, saved):
    path = saved(content())
    assert same(ours(path, name, options), timm_pretrained(name, path, **options))
    assert look_at_file(path, architecture=name, options={**OPTIONS, **options})


@pytest.mark.parametrize("name", ["ls{}.weight", "layer_scale{}.lambda1"])
def test_layer_scale_under_other_names(name, saved):
    model = tiny(**SCALED)
    path = saved(renamed(model, *((f"ls{branch}.gamma", name.format(branch)) for branch in (1, 2))))
    assert same(ours(path, options=SCALED), model)
    with pytest.raises(InputError, match=r"no blocks\.0\..*; check architecture and options"):
        fill_from_file(tiny(), path)


def head_outside(model):
    state = under("backbone.", model)
    return {name.replace("backbone.head", "classifier"): tensor for name, tensor in state.items()}


FOUND = {
    **{prefix: under(prefix, FIRST) for prefix in ("_orig_mod.", "model.module.", "net.", "backbone.", "a.b.c.d.")},
    "teacher": {"teacher": under("backbone.", FIRST), "student": {}, "epoch": 1},
    "a loss": {"state_dict": {**under("model.", FIRST), "criterion.weight": torch.ones(3)}},
    "counted": {"n_averaged": torch.tensor(3), **under("module.", FIRST)},
    "deep": {"checkpoint": {"model": {"state_dict": under("", FIRST)}}, "optimizer": {"state": {0: torch.ones(2)}}},
    "a list": [under("", FIRST), {"lr": 0.1}],
    "twice the same": {"a": under("", FIRST), "b": under("x.", FIRST)},
    "masked, with a decoder": {
        "model": {
            **under("", FIRST),
            "mask_token": torch.ones(1, 1, 32),
            "decoder_embed.weight": torch.ones(4, 32),
            "decoder_blocks.0.norm1.weight": torch.ones(4),
        }
    },
    "a bias of zeros": {**under("", FIRST), "blocks.0.attn.k_bias": torch.zeros(32)},
    "one of another width": {"teacher": under("", FIRST), "student": under("", tiny(embed_dim=16))},
}


@pytest.mark.parametrize("content", FOUND.values(), ids=FOUND.keys())
def test_tensors_are_found_where_they_lie(content, saved):
    assert same(ours(saved(content)), FIRST)


TWO = {
    "tables": ({"teacher": under("", FIRST), "student": under("", SECOND)}, "teacher", "student"),
    "prefixes": ({"state_dict": under("net.", FIRST) | under("ema.", SECOND)}, "state_dict.net", "state_dict.ema"),
    "root and prefix": (under("", FIRST) | under("ema_model.", SECOND), "", "ema_model"),
    "inside": ({"teacher": under("m.", FIRST), "student": under("m.", SECOND)}, "teacher.m", "student.m"),
}


@pytest.mark.parametrize(("content", "first", "second"), TWO.values(), ids=TWO.keys())
def test_of_two_that_fit_none_is_taken_in_silence(content, first, second, saved):
    path = saved(content)
    with pytest.raises(InputError, match=f'"{first}" and "{second}".*weights_key'):
        ours(path)
    assert same(ours(path, key=first), FIRST)
    assert same(ours(path, key=second), SECOND)
    with pytest.raises(InputError, match=r"no tensors under 'teecher'.*weights_key"):
        ours(path, key="teecher")


def test_the_users_choice_goes_before_timms(saved):
    assert same(ours(saved(READ_BY_TIMM["ema before the other"]), key="state_dict"), SECOND)


# What a checkpoint's model has that the architecture lacks, or the reverse: options of the model that was saved, all of
# which the refusal must name.
LACKING = {
    "init_values": (SCALED, NAME),
    "qk_norm": ({"qk_norm": True}, NAME),
    "depth": ({"depth": 4}, NAME),
    "fewer blocks": ({"depth": 1}, NAME),
    "registers beside positions": ({"reg_tokens": 2, "no_embed_class": True}, NAME),
    "no class token": ({"class_token": False, "global_pool": "avg"}, NAME),
    "mean of tokens": ({"global_pool": "avg"}, NAME),
    "norm in front": ({"pre_norm": True}, NAME),
    "no positions": ({"pos_embed": "none"}, NAME),
    "width": ({"embed_dim": 64}, NAME),
    "patch": ({"patch_size": 4}, NAME),
    "channels": ({"in_chans": 1}, NAME),
    "classes": ({"num_classes": 7}, NAME),
    "several": ({**SCALED, "qk_norm": True, "depth": 3}, NAME),
    "shared biases": ({"use_shared_rel_pos_bias": True}, "beit_base_patch16_224"),
    "registers of EVA": ({"num_reg_tokens": 2}, "eva02_tiny_patch14_224"),
    "norm inside attention": ({"scale_attn_inner": True}, "eva02_tiny_patch14_224"),
}


@pytest.mark.parametrize(("options", "name"), LACKING.values(), ids=LACKING.keys())
def test_what_the_architecture_lacks_is_refused_with_the_options_that_take_it(options, name, saved):
    model = tiny(name=name, **options)
    path = saved(under("net.", model))
    with pytest.raises(InputError) as refusal:
        look_at_file(path, architecture=name, options=OPTIONS)
    said = str(refusal.value)
    assert all(f"options.{key}: {json.dumps(options[key])}"[:22] in said for key in options.keys() - {"init_values"})
    assert ("options.init_values" in said) == ("init_values" in options)
    if options.get("in_chans", 3) == 3:
        assert same(ours(path, name, options), model)


REFUSED = {
    "distilled": (lambda: tiny(name="deit_tiny_distilled_patch16_224").state_dict(), "head_dist.*distilled"),
    "the other pooling": (
        lambda: tiny(global_pool="avg").state_dict(),
        r"norm\.weight.*missing.*no fc_norm\.weight.*global_pool",
    ),
    "pre_logits": (lambda: {**under("", FIRST), "pre_logits.fc.weight": torch.ones(32, 32)}, r"no pre_logits\.fc"),
    "a projection in front of the head": (lambda: {**under("", FIRST), "projector.weight": torch.ones(3)}, "projector"),
    "rotary": (lambda: {**under("", FIRST), "rope.freqs_cos": torch.ones(4)}, r"no rope\.freqs_cos"),
    "a bias of keys": (lambda: {**under("", FIRST), "blocks.0.attn.k_bias": torch.ones(32)}, "k_bias"),
    "adapters": (lambda: {**under("", FIRST), "blocks.1.adapter.down.weight": torch.ones(3)}, "adapter.*save its tens"),
    "a loss at the root": (lambda: {**under("", FIRST), "criterion.weight": torch.ones(3)}, "criterion"),
    "no head": (lambda: {n: t for n, t in FIRST.state_dict().items() if "head" not in n}, "brings no .* key `head`"),
    "a head elsewhere": (lambda: head_outside(FIRST), "brings no .* key `head`"),
    "quantised": (lambda: {n: t.to(torch.int8) for n, t in FIRST.state_dict().items()}, "int8.*quantised"),
    "peft": (lambda: renamed(FIRST, ("attn.proj.", "attn.proj.base_layer.")), "LoRA.*merge_and_unload"),
    "a sequential head": (lambda: renamed(FIRST, ("head.", "head.1.")), r"Sequential.*head\.weight"),
    "an optimiser alone": (lambda: {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}, "only exp_avg; save"),
    "a Swin": (
        lambda: {f"layers.2.{name}": torch.ones(2) for name in FIRST.state_dict() if "blocks" in name},
        "staged network",
    ),
    "a head alone": (lambda: {"weight": torch.ones(3, 32), "bias": torch.ones(3)}, "only weight, bias"),
    "transformers": (
        lambda: {"vit.embeddings.patch_embeddings.projection.weight": torch.ones(3)},
        "transformers.*leave the key `architecture` out.*config.json",
    ),
    "torchvision": (lambda: {"conv_proj.weight": torch.ones(3)}, "torchvision.*leave the key `architecture` out"),
    "clip": (lambda: {"visual.transformer.resblocks.0.ln_1.weight": torch.ones(3)}, "CLIP.*open_clip:ViT-B-16/"),
    "a ResNet": (lambda: {"layer1.0.conv1.weight": torch.ones(3)}, "convolutional"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(content, said, saved):
    with pytest.raises(InputError, match=said):
        look_at_file(saved(content()), architecture=NAME, options=OPTIONS)


def test_what_was_taken_is_told_and_kept(saved, tmp_path, caplog):
    caplog.set_level("INFO")
    content = {"state_dict": {**under("model.", FIRST), "model.mask_token": torch.ones(1), "loss.w": torch.ones(1)}}
    path = saved(content)
    options = {"architecture": NAME, "options": OPTIONS}
    noted = write_weights([str(path)], [], str(tmp_path / "out.safetensors"), origin="file", **options)["taken"]
    count = len(FIRST.state_dict())
    assert (noted["tensors"], noted["weights_key"]) == (count, "state_dict.model")
    assert (list(noted["left_out"]), noted["passed_over"]) == (["mask_token"], ["loss (1 tensor)"])
    for part in (f"{count} tensors under `state_dict.model`", "left out: mask_token (", "passed over: loss (1 tensor)"):
        assert part in caplog.text
        assert part in str(look_at_file(path, **options))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("w.pth", b"", "is empty; copy or download"),
        ("w.pth", b"<!DOCTYPE html><html>404", "web page .HTML"),
        ("w.safetensors", b"\n <html>sign in", "web page .HTML"),
        ("w.safetensors", b"no checkpoint", "is text"),
        ("w.safetensors", bytes(99), "no safetensors file"),
        ("w.pth", None, "no such file"),
        ("w.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer.*git lfs pull"),
        ("w.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5.*Keras"),
        ("w.onnx", b"\x08\x08\x12\x07pytorch" + bytes(99), "ONNX"),
        ("w.pth", b"\x08\x08\x12\x07pytorch" + bytes(99), "ONNX"),
        ("model.ckpt.index", bytes(99), "TensorFlow"),
        ("model.ckpt", bytes(99) + bytes.fromhex("57fb808b247547db"), "TensorFlow"),
        ("w.pth.gz", gzip.compress(b"x" * 99, mtime=0), "packed archive; unpack"),
        ("w.npy", b"\x93NUMPY" + bytes(99), "one array"),
        ("w.pth", b"PK\x03\x04" + bytes(99), "cut off or damaged"),
        ("w.pth", b"{'a': 1}  and so on", "is text"),
        ("w.pkl", b"\x80\x04\x95\x10\x00}.", "pickle that torch.save did not write"),
        ("model.safetensors.index.json", b'{"metadata": {}}', "several files"),
    ],
)
def test_what_is_no_checkpoint_is_called_by_its_name(name, content, said, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as refusal:
        kind_of(tmp_path / name)
    assert name in str(refusal.value)


def test_archives_that_are_no_checkpoints(saved, tmp_path):
    with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
        archive.writestr("model.pth", "x")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    saved({"m": tiny()}, "whole.pth")
    saved({"state_dict": under("", FIRST), "best": np.float64(3)}, "scalar.pth")
    save_file(under("", FIRST), tmp_path / "cut.safetensors")
    for path in (saved(under("", FIRST), "cut.pth"), tmp_path / "cut.safetensors"):
        os.truncate(path, path.stat().st_size // 2)
    for name, said in {
        "w.zip": r"archive of other files \(model\.pth\); unpack",
        "script.pt": "TorchScript.*state_dict",
        "whole.pth": r"whole pickled model \(timm\.models\..*VisionTransformer.*model\.state_dict\(\)",
        "scalar.pth": r"holds objects \(numpy.*scalar.*weights_only=False",
        "cut.pth": "cut off or damaged",
        "cut.safetensors": "copy or download it again",
    }.items():
        with pytest.raises(InputError, match=said):
            ours(tmp_path / name)
    with pytest.raises(RuntimeError):  # nor does timm read numpy's scalars
        timm.create_model(NAME, checkpoint_path=tmp_path / "scalar.pth", **OPTIONS)


def test_the_content_says_the_format_not_the_suffix(saved, tmp_path):
    save_file(under("module.", FIRST), tmp_path / "w.pth")
    assert same(ours(tmp_path / "w.pth"), FIRST)
    with pytest.raises(InputError, match=r"written by torch\.save.*call it \.pth"):
        ours(saved(under("", FIRST), "w.safetensors"))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": '{"model_type": "vit", "hidden_size": 768, "patch_size": 32, "image_size": 384}'},
         "transformers.*model_type vit.*leave the key `architecture` out"),
        ({"config.json": '{"architecture": "vit_tiny_patch16_224", "num_classes": 3}'}, 'architecture: "local-dir:'),
        ({"saved_model.pb": ""}, "TensorFlow"),
        ({"best.pth": "", "log.txt": ""}, r"name the checkpoint in it, such as best\.pth"),
        ({}, "name the checkpoint in it"),
    ],
)  # fmt: skip
def test_folders_given_as_weights(files, said, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert re.search(said, folder(tmp_path))
    with pytest.raises(InputError, match=re.escape(folder(tmp_path))):
        ours(tmp_path)


# JAX


def jax_arrays(model):
    """Return a model's tensors as Google's repositories save them (vision_transformer, augreg)."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    heads, width = 2, 32
    found = {
        "cls": state["cls_token"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    for block in range(len(model.blocks)):
        ours, theirs = f"blocks.{block}.", f"Transformer/encoderblock_{block}/"
        for norm, place in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            found[f"{theirs}{place}/scale"] = state[f"{ours}{norm}.weight"]
            found[f"{theirs}{place}/bias"] = state[f"{ours}{norm}.bias"]
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        for part, name in enumerate(("query", "key", "value")):
            rows = slice(part * width, (part + 1) * width)
            found[f"{attention}{name}/kernel"] = state[f"{ours}attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            found[f"{attention}{name}/bias"] = state[f"{ours}attn.qkv.bias"][rows].reshape(heads, -1)
        found[f"{attention}out/kernel"] = state[f"{ours}attn.proj.weight"].T.reshape(heads, -1, width)
        found[f"{attention}out/bias"] = state[f"{ours}attn.proj.bias"]
        for layer, name in enumerate(("fc1", "fc2")):
            found[f"{theirs}MlpBlock_3/Dense_{layer}/kernel"] = state[f"{ours}mlp.{name}.weight"].T
            found[f"{theirs}MlpBlock_3/Dense_{layer}/bias"] = state[f"{ours}mlp.{name}.bias"]
    return found


def test_archives_of_jax(tmp_path):
    np.savez(path := tmp_path / "w.npz", **jax_arrays(FIRST))
    assert same(ours(path), FIRST)
    assert same(ours(path), timm.create_model(NAME, checkpoint_path=path, **OPTIONS).eval())
    look_at_file(path, architecture=NAME, options=OPTIONS)


@pytest.mark.parametrize(
    ("options", "more", "said"),
    [
        ({"num_classes": 5}, {}, r"head\.weight.*num_classes"),  # timm leaves the head at random
        ({"depth": 1}, {}, "no encoderblock_1.*depth"),
        (SCALED, {}, r"blocks\.0\.ls1\.gamma"),
        ({}, {"pre_logits/kernel": np.eye(32)}, "pre_logits"),
        ({}, {"MAPHead_0/probe": np.ones((1, 1, 32))}, "no MAPHead_0/probe"),
        ({"num_heads": 4}, {}, r"query/kernel is \(32, 2, 16\) and should be \(32, 4, 8\).*num_heads"),
        ({"patch_size": 16}, {}, r"embedding/kernel is \(8, 8, 3, 32\) and should be \(16, 16, 3, 32\)"),  # resampled
        ({"in_chans": 1}, {}, r"embedding/kernel is \(8, 8, 3, 32\) and should be \(8, 8, 1, 32\)"),  # summed
    ],
)
def test_archives_of_jax_that_do_not_fit(options, more, said, tmp_path):
    np.savez(path := tmp_path / "w.npz", **jax_arrays(FIRST), **more)
    with pytest.raises(InputError, match=said):
        ours(path, options=options)


def test_archives_of_jax_with_stacked_blocks(tmp_path):
    arrays, stacked = jax_arrays(FIRST), {"params/txt/kernel": np.ones(3)}
    for name, array in arrays.items():
        if "encoderblock_1" not in name:
            if "encoderblock_0" in name:
                array = np.stack([array, arrays[name.replace("_0/", "_1/", 1)]])
            name = name.replace("encoderblock_0", "encoderblock").replace("Transformer/posembed_input/", "")
            for old, new in (("Attention_1", "Attention_0"), ("Block_3", "Block_0"), ("Norm_2", "Norm_1")):
                name = name.replace(old, new)
            stacked[f"params/img/{name}"] = array
    np.savez(path := tmp_path / "w.npz", **stacked)
    assert same(ours(path), FIRST)
    with pytest.raises(InputError, match=r"query/kernel is \(2, 32, 2, 16\) and should be \(1, 32, 2, 16\)"):
        ours(path, options={"depth": 1})


def test_files_of_a_folder_come_in_timms_order():
    from timm.models import _hub

    assert (tuple(_hub._PREFERRED_FILES), tuple(_hub._EXT_PRIORITY)) == (PREFERRED, SUFFIXES)


def test_looking_maps_and_does_not_read(saved):
    """A checkpoint of 200 MB is compared by name without its tensors in memory."""
    import resource

    path = saved({"state_dict": under("", FIRST), "optimizer": {"state": {0: torch.zeros(50_000_000)}}})
    look_at_file(path, architecture=NAME, options=OPTIONS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    look_at_file(path, architecture=NAME, options=OPTIONS)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024)
    assert grown < 100e6
