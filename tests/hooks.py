"""Hooks of the tests' own on timm's modules: what is seen and changed there, without classlens."""

import torch


@torch.no_grad()
def hooked(model, images, *hooks):
    """Return a model's output under hooks, each (module, "hook" or "pre_hook", function)."""
    handles = [getattr(module, f"register_forward_{kind}")(function) for module, kind, function in hooks]
    output = model(images)
    for handle in handles:
        handle.remove()
    return output


def put_head(model, block, head, value=0.0):
    """Write a value over a head's part of what enters its block's projection."""
    attention = model.blocks[block].attn
    width = attention.proj.in_features // attention.num_heads

    def put(_module, inputs):
        heads = inputs[0].clone()
        heads[..., width * head : width * (head + 1)] = value
        return (heads,)

    return attention.proj, "pre_hook", put


def put_tokens(module, tokens, values):
    """Write values over tokens of what a module puts out."""

    def put(_module, _inputs, output):
        output = output.clone()
        output[:, tokens] = values
        return output

    return module, "hook", put


def outputs(model, images):
    """Return what every block puts out (B, n, T, D)."""
    return _seen(model, images, model.blocks, lambda _inputs, output: output)


def head_inputs(model, images):
    """Return what every block's projection gets of its heads (B, n, T, H d)."""
    return _seen(model, images, [block.attn.proj for block in model.blocks], lambda inputs, _output: inputs[0])


def _seen(model, images, modules, pick):
    found = []
    hooks = [(module, "hook", lambda _module, *passed: found.append(pick(*passed).clone())) for module in modules]
    hooked(model, images, *hooks)
    return torch.stack(found)
