"""The vision transformers of Hugging Face's transformers: what timm builds of their configs, and tables of names.

A further family is an entry of FAMILIES and a case in tests/sources/test_huggingface.py. Names are those
of transformers 4 and those of transformers 5, which live models have; files may have either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from classlens.errors import InputError
from classlens.sources.names import Table, ratio

Described = Mapping[str, Any]
"""A config.json, complete with the family's defaults."""

BLOCK = r"(?:(?:encoder|model)\.)?layers?\.(\d+)\."
ATTENTION = BLOCK + r"(?:attention\.(?:attention\.)?|self_attn\.)"
SHARED: Table = (
    (r"(?:embeddings\.)?(?:cls_token|class_embedding)", "cls_token"),
    (r"embeddings\.(?:position_embeddings|position_embedding\.weight)", "pos_embed"),
    (r"embeddings\.(?:patch_embeddings|patch_embedding)(?:\.projection)?", "patch_embed.proj"),
    (r"embeddings\.register_tokens", "reg_token"),
    (ATTENTION + "(?:query|q_proj)", r"blocks.\1.attn.q"),
    (ATTENTION + "(?:key|k_proj)", r"blocks.\1.attn.k"),
    (ATTENTION + "(?:value|v_proj)", r"blocks.\1.attn.v"),
    (ATTENTION + r"(?:output\.dense|o_proj|out_proj)", r"blocks.\1.attn.proj"),
    (BLOCK + "(?:layernorm_before|norm1|layer_norm1)", r"blocks.\1.norm1"),
    (BLOCK + "(?:layernorm_after|norm2|layer_norm2)", r"blocks.\1.norm2"),
    (BLOCK + r"(?:intermediate\.dense|mlp\.fc1|mlp\.weights_in)", r"blocks.\1.mlp.fc1"),
    (BLOCK + r"(?:output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)", r"blocks.\1.mlp.fc2"),
    (r"(?:layernorm|norm|post_layernorm)", "norm"),
    (r"(?:classifier|cls_classifier)", "head"),
)
GATED: Table = (
    (BLOCK + r"mlp\.gate_proj", r"blocks.\1.mlp.gate"),
    (BLOCK + r"mlp\.up_proj", r"blocks.\1.mlp.up"),
)
LAYER_SCALE: Table = ((BLOCK + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),)
BEIT: Table = (
    (BLOCK + r"lambda_([12])", r"blocks.\1.gamma_\2"),
    (
        BLOCK + r"(?:attention\.attention\.)?relative_position_bias\.relative_position_bias_table",
        r"blocks.\1.attn.relative_position_bias_table",
    ),
    (
        r"(?:encoder\.relative_position_bias|shared_position_bias)\.relative_position_bias_table",
        "rel_pos_bias.relative_position_bias_table",
    ),
    (r"pooler\.layernorm", "fc_norm"),
)
CLIP: Table = ((r"pre_layrnorm|pre_layernorm", "norm_pre"), (r"visual_projection", "head"))
POOL: Table = (
    (r"head\.probe", "attn_pool.latent"),
    (r"head\.attention\.in_proj_(weight|bias)", r"attn_pool.in_proj.\1"),
    (r"head\.attention\.out_proj", "attn_pool.proj"),
    (r"head\.layernorm", "attn_pool.norm"),
    (r"head\.mlp\.(fc[12])", r"attn_pool.mlp.\1"),
)
IGNORED: Table = (
    (r"(?:embeddings\.)?mask_token", "stands for masked patches, in pretraining alone"),
    (r"pooler\.dense\..+", "a layer of pretraining after the last norm"),
    (r"(?:.+\.)?(?:position_ids|relative_position_index|inv_freq)", "numbers that the model computes itself"),
    (r"decoder\..+|decoder_.+|lm_head\..+", "a decoder or head of pretraining"),
    (r"text_model\..+|text_projection\.weight|logit_scale|logit_bias", "of texts"),
)
"""Patterns of names that have no part in the output, and reasons."""
UNREAD: dict[str, Table] = {
    "siglip": ((r"head\..+", "a pool that its classes do not read"),),
    "clip": ((r"post_layernorm\..+", "a norm that its classes do not read"),),
    "metaclip_2": ((r"post_layernorm\..+", "a norm that its classes do not read"),),
}
"""The same of models with classes (ForImageClassification), by `model_type`."""
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "quick_gelu": "quick_gelu", "relu": "relu", "silu": "silu", "swish": "silu",
}  # fmt: skip
"""What timm calls the activations of transformers."""


@dataclass(frozen=True)
class Family:
    """Models of one `model_type`.

    Attributes:
        architecture: of timm, with `options` for a config and the name of a class of transformers.
        options: beside those that all have.
        names: in front of SHARED.
        defaults: of config.json, beside DEFAULTS.
        antialias: transformers resamples positions so.
        transform: the preprocessor's defaults, see `classlens.sources.preprocessing`.
        registers: position embeddings leave them out, and are those of [CLS] and image tokens.
        constants: values of timm's parameters that a config's models do not have, by patterns of names.
    """

    architecture: str
    options: Callable[[Described, str], dict[str, Any]]
    names: Table = ()
    defaults: Described = ()  # type: ignore[assignment]
    antialias: bool = False
    transform: str = "ViTImageProcessor"
    registers: bool = False
    constants: Callable[[Described], Mapping[str, float]] = lambda _config: {}


DEFAULTS: Described = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "image_size": 224, "patch_size": 16, "num_channels": 3,
    "qkv_bias": True,
}  # fmt: skip
OF_DINOV2: Described = {
    "layer_norm_eps": 1e-6, "mlp_ratio": 4, "layerscale_value": 1.0, "use_swiglu_ffn": False, "patch_size": 14,
}  # fmt: skip
OF_BEIT: Described = {
    "use_absolute_position_embeddings": False, "use_relative_position_bias": False,
    "use_shared_relative_position_bias": False, "layer_scale_init_value": 0.1, "use_mean_pooling": True,
}  # fmt: skip
OF_CLIP: Described = {"layer_norm_eps": 1e-5, "hidden_act": "quick_gelu", "patch_size": 32}
OF_SIGLIP: Described = {"layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh", "vision_use_head": True}
OF_DINOV3: Described = {
    "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6, "layer_norm_eps": 1e-5,
    "rope_theta": 100.0, "use_gated_mlp": False, "num_register_tokens": 0,
    "query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True, "mlp_bias": True,
}  # fmt: skip


def _common(config: Described) -> dict[str, Any]:
    """Return the options that every family has, but for the activation."""
    return {
        "img_size": config["image_size"],
        "patch_size": config["patch_size"],
        "in_chans": config["num_channels"],
        "embed_dim": config["hidden_size"],
        "depth": config["num_hidden_layers"],
        "num_heads": config["num_attention_heads"],
        "mlp_ratio": ratio(config["intermediate_size"], config["hidden_size"]),
        "norm_eps": config["layer_norm_eps"],
    }


def _activation(config: Described) -> str:
    """Return timm's name of a config's activation, or refuse it."""
    name = config["hidden_act"]
    if name not in ACTIVATIONS:
        raise InputError(f"its activation (hidden_act) is {name!r}; known are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _plain(config: Described, _of: str) -> dict[str, Any]:
    return {**_common(config), "act_layer": _activation(config), "qkv_bias": config["qkv_bias"], "global_pool": "token"}


def _deit(config: Described, of: str) -> dict[str, Any]:
    # Without the second head the distillation token is one that no head reads, as a register is.
    return {**_plain(config, of), **({} if "Teacher" in of else {"reg_tokens": 1})}


def _dinov2(config: Described, of: str) -> dict[str, Any]:
    hidden, gated = int(config["hidden_size"] * config["mlp_ratio"]), config["use_swiglu_ffn"]
    if gated:
        hidden = 2 * ((int(hidden * 2 / 3) + 7) // 8 * 8)
    found = {**_plain({**config, "intermediate_size": hidden}, of), "init_values": config["layerscale_value"]}
    if gated:
        found["swiglu"] = True
        del found["act_layer"]
    return found


def _dinov2_with_registers(config: Described, of: str) -> dict[str, Any]:
    return {**_dinov2(config, of), "reg_tokens": config["num_register_tokens"], "no_embed_class": True}


def _exact_gelu(config: Described) -> dict[str, Any]:
    if _activation(config) != "gelu":
        raise InputError(f"its activation (hidden_act) is {config['hidden_act']!r}; timm's model has gelu alone")
    return _common(config)


def _beit(config: Described, _of: str) -> dict[str, Any]:
    mean, scale = config["use_mean_pooling"], config["layer_scale_init_value"]
    return {
        **_exact_gelu(config),
        "qkv_bias": True,
        "init_values": scale if scale > 0 else 1.0,
        "use_abs_pos_emb": config["use_absolute_position_embeddings"],
        "use_rel_pos_bias": config["use_relative_position_bias"],
        "use_shared_rel_pos_bias": config["use_shared_relative_position_bias"],
        "global_pool": "avg" if mean else "token",
    }


def _unscaled(config: Described) -> dict[str, float]:
    return {} if config["layer_scale_init_value"] > 0 else {r"blocks\.\d+\.gamma_[12]": 1.0}


def _clip(config: Described, of: str) -> dict[str, Any]:
    found = {**_plain(config, of), "pre_norm": True}
    return {**found, "global_pool": "avg", "final_norm": False} if of.endswith("ForImageClassification") else found


def _siglip(config: Described, of: str) -> dict[str, Any]:
    averages = of.endswith("ForImageClassification") or not config["vision_use_head"]
    pooling = {"global_pool": "avg", "fc_norm": False} if averages else {"global_pool": "map"}
    return {**_plain(config, of), "class_token": False, **pooling}


def _dinov3(config: Described, _of: str) -> dict[str, Any]:
    gated = config["use_gated_mlp"]
    if config["key_bias"] or config["query_bias"] != config["value_bias"]:
        raise InputError("its keys have biases, or either queries or values have none, unlike timm's model")
    if gated and _activation(config) != "silu":
        raise InputError(f"its gated MLP has hidden_act {config['hidden_act']!r}; timm's model has silu alone")
    return {
        **(_common(config) if gated else _exact_gelu(config)),
        "qkv_bias": config["query_bias"],
        "num_reg_tokens": config["num_register_tokens"],
        "init_values": 1.0,
        "global_pool": "token",
        "rope_temperature": config["rope_theta"],
        "dynamic_img_size": False,
        # Separate layers for gate and values; a multiple of one leaves the width as it is.
        **({"swiglu_mlp": True, "swiglu_align_to": 1} if gated else {}),
    }


def _unbiased(config: Described) -> dict[str, float]:
    places = {"proj_bias": r"attn\.proj", "mlp_bias": r"mlp\.fc\w+"}
    return {rf"blocks\.\d+\.{place}\.bias": 0.0 for key, place in places.items() if not config[key]}


VIT = "vit_base_patch16_224"
DATA2VEC = Family("beit_base_patch16_224", _beit, BEIT, OF_BEIT, transform="BeitImageProcessor", constants=_unscaled)
OPENAI = Family(
    "vit_base_patch16_clip_224",
    _clip,
    CLIP,
    OF_CLIP,
    transform="CLIPImageProcessor",
    constants=lambda _config: {r"head\.bias": 0.0},
)
SIGLIP = Family("vit_base_patch16_siglip_224", _siglip, POOL, OF_SIGLIP, transform="SiglipImageProcessor")
FAMILIES: dict[str, Family] = {
    "vit": Family(VIT, _plain),
    "deit": Family(
        "deit_base_distilled_patch16_224",
        _deit,
        ((r"embeddings\.distillation_token", "dist_token"), (r"distillation_classifier", "head_dist")),
        transform="DeiTImageProcessor",
    ),
    **dict.fromkeys(("beit", "data2vec-vision"), DATA2VEC),
    "dinov2": Family(VIT, _dinov2, (*LAYER_SCALE, *GATED), OF_DINOV2, transform="BitImageProcessor"),
    "dinov2_with_registers": Family(
        VIT,
        _dinov2_with_registers,
        (*LAYER_SCALE, *GATED),
        {**OF_DINOV2, "patch_size": 16, "num_register_tokens": 4},
        antialias=True,
        transform="BitImageProcessor",
        registers=True,
    ),
    "dinov3_vit": Family(
        "vit_small_patch16_dinov3",
        _dinov3,
        ((BLOCK + r"layer_scale([12])\.lambda1", r"blocks.\1.gamma_\2"), *GATED),
        OF_DINOV3,
        transform="DINOv3ViTImageProcessor",
        constants=_unbiased,
    ),
    **dict.fromkeys(("clip", "clip_vision_model", "metaclip_2", "metaclip_2_vision_model"), OPENAI),
    **dict.fromkeys(("siglip", "siglip_vision_model"), SIGLIP),
    "vit_mae": Family(VIT, _plain),
    "vit_msn": Family(VIT, _plain, defaults={"layer_norm_eps": 1e-6}),
}
"""By `model_type`."""
REFUSED = {
    "vit_hybrid": "its patches come from a convolutional network",
    **dict.fromkeys(("swin", "swinv2"), "its tokens are attended in shifted windows and merged between stages"),
    **dict.fromkeys(
        ("siglip2", "siglip2_vision_model"),
        "its pictures have no fixed size (NaFlex); take a SigLIP 2 of fixed resolution",
    ),
    **dict.fromkeys(("resnet", "convnext", "convnextv2", "dinov3_convnext", "efficientnet"), "it is convolutional"),
    **dict.fromkeys(
        ("pvt", "pvt_v2", "segformer", "mobilevit", "mobilevitv2", "levit"), "it has stages of several widths"
    ),
}
"""Reasons why well-known models cannot be looked into."""
