"""What parts of a model write into what its head reads, by definition: norms are frozen at what they see."""

import copy

import torch
from tiny_transformers import EVERY, SMALL, TOKEN, transformer

from classlens.inference.attention import patch_attention

AVERAGE = {**SMALL, "global_pool": "avg", "class_token": False}
TWO_NORMS = {"use_post_transformer_norm": True, "use_fc_norm": True}
MORE = {
    "RMSNorm": ("vit_tiny_patch16_224", {**SMALL, "norm_layer": "rmsnorm"}),
    "RMSNorm, averages after the norm": (
        "vit_tiny_patch16_224",
        {**AVERAGE, "fc_norm": False, "norm_layer": "rmsnorm"},
    ),
    "norm by standard deviation": ("vit_tiny_patch16_224", {**SMALL, "norm_layer": "simplenorm"}),
    "averages of all tokens": ("vit_tiny_patch16_224", {**SMALL, "global_pool": "avg", "pool_include_prefix": True}),
    "averages, norms inside branches": ("vit_tiny_patch16_224", {**AVERAGE, "scale_attn_norm": True, "fc_norm": False}),
    "EVA, norm inside attention": ("eva02_base_patch14_224", {**TOKEN, "scale_attn_inner": True}),
    "EVA, averages": ("eva02_base_patch14_224", {**SMALL, "global_pool": "avg", "scale_attn_inner": True}),
    "EVA, averages between two norms": ("eva02_base_patch14_224", {**SMALL, "global_pool": "avg", **TWO_NORMS}),
    "EVA, two norms": ("eva02_base_patch14_224", {**TOKEN, **TWO_NORMS}),
    "no biases": ("vit_tiny_patch16_224", {**SMALL, "qkv_bias": False, "proj_bias": False}),
}
LINEAR_POOL = "attention pool without MLP"
POST_NORM = ("ResPostBlock", "ResPostRelPosBlock", "EvaBlockPostNorm")


def made(name, dtype=torch.float64):
    """A model by its name, one of `MORE`, or with a pool that is linear but for its weights."""
    if name != LINEAR_POOL:
        return transformer(MORE.get(name) or EVERY[name]).to(dtype)
    model = transformer("attention pool").to(dtype)
    model.attn_pool.mlp, model.fc_norm = None, copy.deepcopy(model.norm)
    return model


def frozen(norm, seen):
    """A norm with the mean and spread that belong to each of `seen` (..., D): what it multiplies, and its bias."""
    if norm is None or isinstance(norm, torch.nn.Identity):
        return (lambda u: u), 0.0
    centred = isinstance(norm, torch.nn.LayerNorm)
    by_square = "Rms" in type(norm).__name__
    spread = seen.square().mean(-1, True) if by_square else seen.var(-1, correction=0 if centred else 1, keepdim=True)
    deviation = (spread + norm.eps).sqrt()
    return lambda u: norm.weight * (u - u.mean(-1, True) if centred else u) / deviation, getattr(norm, "bias", 0.0)


def seen_by_timm(model, image):
    """Inputs and outputs (T, D) of modules by name and block, and A (H, T, T) and v (H, T, d), where timm has them."""
    seen = {}

    def keep(name, block):
        def hook(_module, inputs, output):
            seen[name, block] = (inputs[0][0], output[0])

        return hook

    for number, block in enumerate(model.blocks):
        modules = {"block": block, "weights": block.attn.attn_drop, "projection": block.attn.proj}
        modules |= {"mlp": block.drop_path2, "inner": getattr(block.attn, "norm", None) or torch.nn.Identity()}
        for name, module in modules.items():
            module.register_forward_hook(keep(name, number))

    def attend(block, attention):
        seen["values", block] = attention.value[0]
        return attention.output()

    with patch_attention(model, attend):
        model(image[None])
    for block in model.blocks:
        block.attn.fused_attn = False  # so that attention weights are there to be seen
    model(image[None])
    return seen


def layer_scale_of(block):
    found = getattr(getattr(block, "ls1", None), "gamma", getattr(block, "gamma_1", None))
    return 1.0 if found is None else found


def read_by(model, last):
    """What the model's own head reads (R) of what is written into the normed tokens (T, D), frozen at these."""
    normed, first = model.norm(last), model.num_prefix_tokens
    if getattr(model, "head_dist", None) is not None:
        return lambda u: torch.cat([u[0], u[1]])
    if model.global_pool == "cls_mean":
        return lambda u: torch.cat([u[0], u[first:].mean(0)])
    if (pool := getattr(model, "attn_pool", None)) is not None:
        heads, width = pool.num_heads, pool.head_dim
        key, value = pool.kv(normed).reshape(len(last), 2, heads, width).permute(1, 2, 0, 3)
        query = pool.q(pool.latent[0]).reshape(heads, 1, width) * width**-0.5
        weights = (query @ key.transpose(-2, -1)).softmax(-1)
        pooled = pool.proj((weights @ value).reshape(-1))
        of_value = pool.kv.weight[heads * width :]

        def pool_of(u):
            values = (u @ of_value.T).reshape(len(u), heads, width).transpose(0, 1)
            return pool.proj.weight @ (weights @ values).reshape(-1)
    else:
        chosen = slice(0, 1) if model.global_pool == "token" else slice(first, None)
        chosen = slice(None) if getattr(model, "pool_include_prefix", False) else chosen
        pooled, pool_of = normed[chosen].mean(0), lambda u: u[chosen].mean(0)
    after, _ = frozen(model.fc_norm, pooled)
    return lambda u: after(pool_of(u))


@torch.no_grad()
def written(model, image):
    """By part: heads (B, H, T, R), one and a source token at a time; attention_bias and mlp (B, R); embedding (R)."""
    seen = seen_by_timm(model, image)
    last = seen["block", len(model.blocks) - 1][1]
    in_front, read = frozen(model.norm, last)[0], read_by(model, last)
    heads, bias, mlp = [], [], []
    for b, block in enumerate(model.blocks):
        mlp.append(read(in_front(seen["mlp", b][1])))
        projection = block.attn.proj
        inner, inner_bias = frozen(getattr(block.attn, "norm", None), seen.get(("inner", b), [None])[0])
        post, post_bias = (lambda u, block=block: layer_scale_of(block) * u), 0.0
        if type(block).__name__ in POST_NORM:
            post, post_bias = frozen(block.norm1, seen["projection", b][1])
        none = last.new_zeros(len(last), projection.in_features)
        bias.append(read(in_front(post(projection(none + inner_bias)) + post_bias)))
        of_block = []
        for h, (weights, values) in enumerate(zip(seen["weights", b][1], seen["values", b], strict=True)):
            for j, value in enumerate(values):
                handed = none.clone()
                handed[:, h * len(value) : (h + 1) * len(value)] = weights[:, j, None] * value
                of_block.append(read(in_front(post(inner(handed) @ projection.weight.T))))
        heads.append(torch.stack(of_block).unflatten(0, (-1, len(last))))
    parts = {name: torch.stack(part) for name, part in (("heads", heads), ("attention_bias", bias), ("mlp", mlp))}
    return {**parts, "embedding": read(in_front(seen["block", 0][0]))}


def row_of(model, index):
    """The direction of a class in what the head reads (R)."""
    if getattr(model, "head_dist", None) is None:
        return model.head.weight[index]
    return torch.cat([model.head.weight[index], model.head_dist.weight[index]]) / 2
