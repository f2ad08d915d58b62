"""What a model does is believed, not what its attributes say; whenever it is changed, and in every type and mode."""

import copy
from functools import partial

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from refusals import refused
from tiny_transformers import FAMILIES, random_images, transformer
from torch import nn
from torch.nn.utils import parametrizations

from classlens import Lens
from classlens.catalog.methods import METHODS
from classlens.explanations.explain import explain
from classlens.inference.probe import behaviour
from classlens.models.pictures import as_inputs

pytestmark = pytest.mark.usefixtures("few_steps")
COMPUTED = [name for name, method in METHODS.items() if method.compute]
TYPES = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float64: 5e-6}


class Lora(nn.Module):
    """As peft has it: `weight` is that of the layer without the adapter."""

    def __init__(self, layer, seed=0):
        super().__init__()
        self.base_layer, self.weight, self.bias = layer, layer.weight, layer.bias
        more = 0.5 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("more", more)

    def forward(self, x):
        return self.base_layer(x) + nn.functional.linear(x, self.more)

    def merged(self):
        layer = copy.deepcopy(self.base_layer)
        layer.weight.data += self.more
        return layer


def same(found, expected, tolerance=1e-4):
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() <= tolerance * np.abs(np.asarray(expected)).max()


@pytest.mark.parametrize("name", ["averages", "norms inside branches"])
def test_adapters_are_part_of_the_layer(name):
    model, merged, images = transformer(name), transformer(name), random_images()
    for place, block in enumerate(model.blocks):
        for part, layers in (("attn", ("qkv", "proj")), ("mlp", ("fc1", "fc2"))):
            for layer in layers:
                lora = Lora(getattr(getattr(block, part), layer), seed=place)
                setattr(getattr(block, part), layer, lora)
                setattr(getattr(merged.blocks[place], part), layer, lora.merged())
    lora = Lora(model.head)
    model.head, merged.head = lora, lora.merged()
    view, right = Lens(model)(images), Lens(merged)(images)
    same(view.output, merged(images).detach())
    for site in ("residual", "attn", "mlp"):
        same(view.logit(site, 1), right.logit(site, 1))
    assert float(view.attribution(1).gap().max()) < 1e-4
    same(view.attribution(1).heads, right.attribution(1).heads)
    for method in ("direct", "attn_lrp", "legrad", "gradient") if name != "averages" else ("direct", "attn_lrp"):
        same(view.explain(1, method).importance, right.explain(1, method).importance, 1e-3)


def test_parametrised_layers_and_layers_that_are_not_linear():
    model, images = transformer("plain"), random_images()
    parametrizations.weight_norm(model.blocks[0].attn.proj)
    assert float(Lens(model)(images).attribution(1).gap().max()) < 1e-4
    model.blocks[1].attn.proj = nn.Sequential(model.blocks[1].attn.proj, nn.Tanh())
    refused(r"attn\.proj of block 1 is a Sequential that is not linear", lambda: Lens(model)(images).attribution(1))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("EVA", torch.float16), ("rotary", torch.bfloat16), ("distilled", torch.float64), ("LayerScale", torch.float16)],
)
def test_types(name, dtype):
    """float32 of the same (rounded) numbers is what everything is compared with."""
    images = random_images()
    model = transformer(name).to(dtype)
    rounded = copy.deepcopy(model).float()
    lens, view, right = Lens(model), Lens(model)(images), Lens(rounded)(images)
    same(view.output, rounded(images).detach(), TYPES[dtype])
    for method in COMPUTED:
        # What needs it computes in float32: no more than that is lost, whatever the type.
        found, expected = view.explain(1, method), right.explain(1, method)
        assert found.importance.dtype == np.float32
        same(found.importance, expected.importance, 1e-4 if dtype == torch.float64 else 1e-5)
    same(view.attribution(1).heads, right.attribution(1).heads, 1e-4)
    assert float(view.attribution(1).gap().max()) < (1e-12 if dtype == torch.float64 else 1e-4)
    for context in [lens.ablate([(0, 1)]), lens.attention("no_cls")]:
        with context:
            changed = lens(images).output
    with (of := Lens(rounded)).attention("no_cls"):
        same(changed, of(images).output, TYPES[dtype])
    assert all(parameter.dtype == dtype for parameter in model.parameters())
    view.plot()
    view.plot_token(0)


@pytest.mark.parametrize(("mode", "inside"), [(torch.no_grad, False), (torch.inference_mode, True)])
def test_modes_without_gradients(mode, inside):
    expected = {
        method: Lens(transformer("plain"))(random_images()).explain(1, method).importance for method in COMPUTED
    }
    model = transformer("plain")
    with mode():
        model = transformer("plain") if inside else model
        images = random_images()
        view = Lens(model)(images)
        for method in COMPUTED:
            same(view.explain(1, method).importance, expected[method], 1e-5)
        assert float(view.attribution(1).gap().max()) < 1e-4
        explain(model, images[0], 1, "chefer")


def test_a_model_that_stops_gradients_is_told_so():
    model = transformer("plain")
    model.forward_features = torch.no_grad()(model.forward_features)
    view = Lens(model)(random_images())
    refused("no gradient passes through .*no_grad", lambda: view.explain(1, "attn_lrp"))
    assert np.isfinite(view.explain(1, "gradient").importance).all()


def fresh_norm():
    norm = nn.LayerNorm(24)
    nn.init.normal_(norm.weight)
    return norm


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("head", lambda: nn.Linear(24, 5)),
        ("global_pool", lambda: "avg"),
        ("norm", fresh_norm),
        ("fc_norm", fresh_norm),
        ("norm", nn.Identity),
    ],
)
@pytest.mark.parametrize("before", [False, True])
def test_a_model_that_was_changed(name, made, before):
    """A change after the lens was made is a change; what was seen before it is not mixed with it."""
    model, images = transformer("plain"), random_images()
    lens = None if before else Lens(model)
    old = None if before else lens(images)
    torch.manual_seed(0)
    setattr(model, name, made())
    lens = lens or Lens(model)
    view = lens(images)
    with torch.no_grad():
        output = model(images)
        same(view.output, output)
        tokens = torch.from_numpy(view.tokens("residual", -1).copy())
        read = model.fc_norm(model.norm(tokens))
        logits = model.head(read)
    assert view.rank().shape[1:] == (3, 17)
    assert view.predictions(output.shape[1]).shape == output.shape
    same(view.logit("residual", 3, -1), logits[..., 3])
    if name != "global_pool":
        same(view.logit("residual", 3, -1)[:, 0], output[:, 3])
    assert float(view.attribution(3).gap().max()) < 1e-4
    assert np.isfinite(view.explain(3).importance).all()
    refused(r"none of the model's classes 0\.\.", lambda: view.rank(class_index=output.shape[1]))
    if old is not None:
        asked = (lambda: old.rank(class_index=3), lambda: old.explain(3), lambda: old.attribution(3))
        refused("changed after it looked", *asked)


def test_weights_that_are_changed_in_place():
    model, images = transformer("plain"), random_images()
    lens = Lens(model)
    view = lens(images)
    with torch.no_grad():
        model.blocks[0].mlp.fc1.weight.mul_(2)
    view.rank()  # is of the tokens that were seen
    refused("changed after it looked", lambda: view.explain(1))
    again = lens(images)
    model.half()
    assert np.isfinite(again.explain(1).importance).all()  # the same model in another type
    model.float().blocks[0].attn.qkv.weight.data[:5].neg_()  # which torch takes no note of
    refused("changed after it looked", lambda: again.explain(1), lambda: again.attribution(1))
    last = lens(images)
    model.head.weight.data[3] += 1
    refused("changed after it looked", lambda: last.rank(class_index=2), lambda: last.token_logits(0), last.plot)


def test_norms_of_another_type_than_the_rest():
    model, images = transformer("plain"), random_images()
    model.norm.double()
    model.norm.register_forward_hook(lambda _module, _inputs, output: output.float())
    model.blocks[-1].register_forward_hook(lambda _module, _inputs, output: output.double())
    view = Lens(model)(images)
    same(view.logit("residual", 3, -1)[:, 0], torch.from_numpy(view.output[:, 3]))


def test_unpooled_outputs_and_other_readouts():
    model = transformer("plain")
    model.global_pool = ""
    refused(r"\(1, 17, 7\).*set model.global_pool to 'token' or 'avg'", lambda: Lens(model))
    for name in ("forward", "forward_head"):
        changed = transformer("plain")
        lens, own = Lens(changed), getattr(changed, name)
        setattr(changed, name, lambda x, own=own: own(x).softmax(-1))
        message = r"head\(fc_norm\(norm\(token|norm and forward_head"
        refused(message, lambda lens=lens: lens(random_images()), lambda changed=changed: Lens(changed))
    model = transformer("plain")
    lens = Lens(model)
    model.pool = lambda tokens, pool_type=None: tokens[:, -1]
    refused("not read off its first token", lambda: lens(random_images()))
    model.global_pool = "last"
    refused("'chefer' does not apply", lambda: lens(random_images()).explain(1, "chefer"))
    model = transformer("plain")
    hooked = Lens(model)
    model.register_forward_hook(lambda _module, _inputs, output: output.softmax(-1))
    refused("hooks of yours", lambda: hooked(random_images()))


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_norms_layer_scales_and_paths_that_were_replaced():
    images = random_images()
    model = transformer("LayerScale")
    gamma = model.blocks[1].ls1.gamma.detach()
    expected = Lens(transformer("LayerScale"))(images).attribution(1)
    model.blocks[1].ls1 = Times(gamma)
    same(Lens(model)(images).attribution(1).heads, expected.heads)
    model.blocks[1].drop_path1 = Times(0.5)
    view = Lens(model)(images)
    assert np.isfinite(view.explain(1, "gradient").importance).all()
    message = "the parts of a logit differ from it"
    refused(message, lambda: view.attribution(1), lambda: view.explain(1, "direct"))
    model = transformer("plain")
    model.norm.forward = torch.tanh
    other = Lens(model)(images)
    for method, place in (("direct", "the last norm"), ("attn_lrp", "norm")):
        refused(f"{place} is LayerNorm, which is no linear", lambda method=method: other.explain(1, method))


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(channels):
    architecture, options = FAMILIES["plain"]
    torch.manual_seed(0)
    model = timm.create_model(architecture, **options, in_chans=channels).eval()
    images = torch.randn(3, channels, 32, 32)
    lens = Lens(model)
    view = lens(images)
    with torch.no_grad():
        same(view.output, model(images))
    for method in COMPUTED:
        assert np.isfinite(view.explain(1, method).importance).all()
    view.plot()
    message = rf"\(3, 32, 32\), but the model takes \({channels}, 32, 32\)"
    refused(message, lambda: lens(random_images()[0]))
    picture = Image.new("RGB", (40, 40), (200, 50, 10))
    if channels == 1:
        grey = np.dot((200, 50, 10), (0.299, 0.587, 0.114))
        mean, std = (np.mean(model.pretrained_cfg[name]) for name in ("mean", "std"))
        assert np.abs(as_inputs(model, picture, 1)[0, 0].numpy() - (grey / 255 - mean) / std).max() < 0.6 / 255 / std
    else:
        message = r"4 channels, and a picture has one.*give normalised tensors \(4, 32, 32\)"
        refused(message, lambda: lens(picture))


def test_classes_as_numbers_of_any_kind():
    model, images = transformer("plain"), random_images()
    view = Lens(model)(images)
    expected = view.logit(class_index=2)
    two = torch.tensor(2)
    for one in (two, np.int64(2), np.array(2), torch.tensor([2]), [two] * 3, np.full(3, 2, "u1")):
        assert np.array_equal(view.logit(class_index=one), expected)
    assert np.array_equal(view.logit(class_index=torch.tensor([0, 1, 2]))[:, 2], expected[:, 2])
    for one in (torch.tensor(2), np.int64(2)):
        assert np.array_equal(explain(model, images[0], one).importance, view.explain(2).importance)
    for wrong in (torch.tensor(2.0), torch.tensor(True), 7, -1):
        refused("class", partial(view.logit, class_index=wrong), partial(explain, model, images[0], wrong))


def test_the_random_explanation_of_an_image_is_its_own():
    view = Lens(transformer("plain"))(random_images(4))
    every = view.explain(1, "random", image=None)
    assert np.array_equal(view.explain(1, "random", image=3).importance, every[3].importance)
    assert not np.array_equal(every[0].importance, every[3].importance)


@pytest.mark.parametrize("name", ["distilled", "EVA"])
def test_a_lens_takes_one_forward_pass_to_be_made(name):
    model, passes = transformer(name), []
    model.patch_embed.register_forward_hook(lambda *_: passes.append(1))
    lens = Lens(model)
    Lens(model)
    assert len(passes) == 1
    lens.ablate([(0, 0)])
    lens.attention("self_only")
    assert len(passes) == 3
    assert behaviour(model).classes == 7
