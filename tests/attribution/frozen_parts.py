"""What a model computes on an image, by its modules, and its norms frozen at it."""

import torch

from classlens.inference.attention import patch_attention


def frozen(norm, seen):
    """A norm with the mean and spread that belong to `seen`: D(u) as a function, and its bias."""
    if isinstance(norm, torch.nn.Identity) or norm is None:
        return (lambda u: u), 0.0
    weight = norm.weight
    if isinstance(norm, torch.nn.LayerNorm):
        sigma = ((seen - seen.mean()).square().mean() + norm.eps).sqrt()
        return (lambda u: weight * (u - u.mean()) / sigma), norm.bias
    if "Rms" in type(norm).__name__:
        rms = (seen.square().mean() + norm.eps).sqrt()
        return (lambda u: weight * u / rms), 0.0
    deviation = (seen.var() + norm.eps).sqrt()
    return (lambda u: weight * u / deviation), 0.0


POST_NORM = ("ResPostBlock", "ResPostRelPosBlock", "EvaBlockPostNorm")


def seen_by_timm(model, image):
    """Inputs and outputs (T, D) of modules by name and block, and A (H, T, T) and v (H, T, d), where timm has them."""
    seen = {}

    def keep(name, block):
        def hook(_module, inputs, output):
            seen[name, block] = (inputs[0][0], output[0])

        return hook

    for number, block in enumerate(model.blocks):
        modules = {"block": block, "weights": block.attn.attn_drop, "projection": block.attn.proj, "norm1": block.norm1}
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
    for found in (getattr(getattr(block, "ls1", None), "gamma", None), getattr(block, "gamma_1", None)):
        if found is not None:
            return found
    return 1.0


def scaled_by(scale):
    return lambda u: scale * u
