"""What a user hands over is opened, and is afterwards what it was."""

import copy
import types

import numpy as np
import pytest
import timm
import torch
from tiny_transformers import SMALL, random_images, transformer
from torch import nn

from classlens import Lens, explain
from classlens.errors import InputError
from classlens.models.opening import open_model


def eager(model):
    return torch.compile(model, backend="eager")


def compiled_blocks(model):
    model.blocks[0] = eager(model.blocks[0])
    model.blocks[1].attn.compile(backend="eager")
    return model


def distributed(model):
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    return nn.parallel.DistributedDataParallel(model)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": distributed,
    "torch.compile": eager,
    "model.compile()": lambda model: model.compile(backend="eager") or model,
    "AveragedModel": torch.optim.swa_utils.AveragedModel,
    "ModelEma": timm.utils.ModelEma,
    "ModelEmaV2": timm.utils.ModelEmaV2,
    "ModelEmaV3": timm.utils.ModelEmaV3,
    "nested": lambda model: nn.DataParallel(eager(torch.optim.swa_utils.AveragedModel(model))),
    "its blocks": compiled_blocks,
}


@pytest.fixture(autouse=True)
def no_process_group():
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def hooks_of(module):
    modules = (module.ema if isinstance(module, timm.utils.ModelEma) else module).modules()
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in modules)


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_opened(name):
    model, images = transformer("LayerScale"), random_images(2)
    plain, wrapped = Lens(copy.deepcopy(model)), WRAPPERS[name](model)
    before, lens = hooks_of(wrapped), Lens(wrapped)
    assert np.array_equal(lens(images).output, plain(images).output)
    with lens.ablate(heads=[(0, 1)]), plain.ablate(heads=[(0, 1)]):
        changed = lens(images).output
        assert np.array_equal(changed, plain(images).output)
    assert np.abs(changed - lens(images).output).max() > 0.01
    found, expected = (explain(one, images[0], 3, "chefer").importance for one in (wrapped, plain.model))
    assert np.array_equal(found, expected)
    assert hooks_of(wrapped) == before


class Scaled(nn.Module):
    """A linear head that is no nn.Linear."""

    def __init__(self, width, classes):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(width, classes))

    def forward(self, x):
        return 2 * x @ self.directions + 0.5


LINEAR = {
    "dropout": lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(24, 5)),
    "two layers": lambda: nn.Sequential(nn.Linear(24, 9), nn.Identity(), nn.Linear(9, 5, bias=False)),
    "of the user's own": lambda: Scaled(24, 5),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(24, 5)),
    "other classes than the model was made with": lambda: nn.Linear(24, 5),
}


@pytest.mark.parametrize("name", LINEAR)
def test_heads_that_are_linear_are_read(name):
    torch.manual_seed(0)
    model, images = transformer("plain"), random_images(2)
    model.head = LINEAR[name]()
    seen = []
    handle = model.blocks[-1].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        expected = model.eval()(images)
        tokens = model.head(model.norm(seen[0]))
    handle.remove()
    view = Lens(model.train(), batch_size=1)(images)
    assert model.training
    assert model.head.training
    assert view.output.shape == (2, 5)
    np.testing.assert_allclose(view.output, expected, rtol=1e-4, atol=1e-5)
    ranks = (tokens > tokens[..., 3:4]).sum(-1)
    assert np.array_equal(view.rank(class_index=3, block=-1), ranks)
    parts = view.attribution(3)
    np.testing.assert_allclose(parts.logit, expected[:, 3], rtol=1e-4, atol=1e-5)
    assert parts.gap().max() < 1e-5
    with pytest.raises(InputError, match=r"class 5 is none of the model's classes 0\.\.4"):
        explain(model, images[0], 5)
    model.head = nn.Linear(24, 3)
    assert Lens(model)(images).output.shape == (2, 3)


def test_heads_that_cannot_be_run_or_change_nothing_are_refused_by_name():
    model, images = transformer("plain"), random_images(1)
    model.head = nn.Sequential(nn.Linear(25, 9), nn.ReLU(), nn.Linear(9, 5))
    for look in (Lens, lambda model: explain(model, images, 0)):
        with pytest.raises(InputError, match=r"a Sequential \(Linear, ReLU, Linear\), .* run .*vectors of width 24"):
            look(model)
    model.head = nn.Sequential(nn.Dropout(0.1))
    with pytest.raises(InputError, match="no classification head"):
        explain(model, images, 0)
    with pytest.raises(InputError, match="the model has no head"):
        Lens(model)(images).rank()


def test_a_model_that_changes_is_read_as_it_is():
    model, images = transformer("plain"), random_images(2)
    lens = Lens(nn.DataParallel(model), list("abcdefg"))
    lens(images)
    model.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(24, 7))
    with torch.no_grad():
        np.testing.assert_allclose(lens(images).output, model.eval()(images), rtol=1e-4, atol=1e-5)
    model.head = nn.Linear(24, 4)
    with pytest.raises(InputError, match="7 names, but the model 4 classes"):
        lens(images)


class Holder(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda vit: Holder(backbone=vit), r"Holder is no .* model\.backbone: give that, Lens\(model\.backbone\)"),
        (lambda vit: nn.DataParallel(Holder(net=eager(vit))), r"model\.module\.net: .*Lens\(model\.module\.net\)"),
        (lambda vit: Holder(parts=nn.ModuleDict({"a": vit})), r"Lens\(model\.parts\['a'\]\)"),
        (lambda vit: nn.Sequential(nn.Identity(), vit), r"Sequential .* Lens\(model\[1\]\)"),
        (lambda vit: Holder(a=vit, b=transformer("BEiT")), r"holds model\.a, model\.b: give that"),
        (
            lambda _vit: Holder(backbone=timm.create_model("vit_tiny_patch16_224", **{**SMALL, "num_classes": 0})),
            r"model\.backbone has no head: give it the linear one, model\.backbone\.head = ",
        ),
        (lambda vit: vit.state_dict(), "a model is a torch.nn.Module, .* and no OrderedDict"),
        (lambda _vit: "vit_base_patch16_224", "and no str"),
        (lambda _vit: nn.Linear(3, 3), "Linear is not a vision transformer"),
    ],
)
def test_modules_that_hold_a_model_are_refused_by_where_it_is(made, message):
    with pytest.raises(InputError, match=message):
        Lens(made(transformer("plain")))


def test_what_must_be_copied_has_no_forward_of_its_own():
    model = transformer("plain")
    model.forward = types.MethodType(type(model).forward, model)
    Lens(model)
    model.head = nn.Sequential(nn.Linear(24, 7))
    with pytest.raises(InputError, match="forward of VisionTransformer was replaced"):
        Lens(model)


def require_same(lens, model, images):
    with torch.no_grad():
        np.testing.assert_allclose(lens(images).output, model(images), rtol=1e-4, atol=1e-5)


def test_adapters_are_merged_into_copies():
    peft = pytest.importorskip("peft")
    model, images = transformer("plain").eval(), random_images(2)
    plain = Lens(copy.deepcopy(model))(images).output
    model.blocks[0].drop_path1 = model.blocks[1].drop_path1  # a module in two places is opened once
    targets = {"target_modules": ["qkv", "proj", "fc1"], "modules_to_save": ["head"], "use_dora": True}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**targets, init_lora_weights=False)).eval()
    with torch.no_grad():
        adapted.base_model.model.head.modules_to_save["default"].weight.mul_(-1)
    before = copy.deepcopy(adapted.state_dict())
    for given in (adapted, nn.DataParallel(adapted), adapted.base_model, adapted.base_model.model):
        lens = Lens(given)
        require_same(lens, adapted, images)
        assert lens(images).attribution(2).gap().max() < 1e-5
    assert np.abs(lens(images).output - plain).max() > 0.1
    assert all(torch.equal(tensor, before[name]) for name, tensor in adapted.state_dict().items())
    projection = model.blocks[1].attn.proj
    assert not projection.merged
    assert open_model(model).model.blocks[1].attn.proj is open_model(model).model.blocks[1].attn.proj
    with torch.no_grad():
        projection.lora_B["default"].weight.mul_(-2)
    require_same(lens, adapted, images)
    projection.merge()
    require_same(lens, adapted, images)
    with adapted.disable_adapter():
        require_same(lens, adapted, images)
        np.testing.assert_allclose(lens(images).output, plain, rtol=1e-4, atol=1e-5)
