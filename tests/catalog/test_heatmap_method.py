"""Heat maps show an explanation that applies to the model, or say which one does."""

from dataclasses import replace

import pytest

from classlens.catalog import applicable, planning
from classlens.catalog.configs import load_config
from classlens.errors import InputError
from classlens.models.facts import CLASS_TOKEN, CLASS_TOKEN_POOLING

AVERAGES = {
    "depth": 2,
    "num_classes": 10,
    "grid": [4, 4],
    "patch": [8, 8],
    "has_class_token": False,
    "class_token_pooling": False,
    "lacks": {CLASS_TOKEN: "", CLASS_TOKEN_POOLING: ""},
}


def config_of(probes=None, **explanations):
    model = {"dataset": "d", "architecture": "vit", "transform": {"size": 16}, "weights": "random"}
    raw = {"datasets": {"d": {"kind": "digits"}}, "models": {"m": model}, "explanations": explanations}
    config = load_config(raw | {"probes": probes or {}})
    return replace(config, architectures=dict.fromkeys(config.models, AVERAGES))


def test_of_models_without_class_token():
    assert planning.applies(config_of(heatmap_method="legrad"), "m", "heatmaps")
    config = config_of()
    assert not planning.applies(config, "m", "heatmaps")
    with pytest.raises(
        InputError, match="heatmaps shows the explanation gradient, which does not apply to m; take legrad"
    ):
        applicable.require(config, "m", "what the explanation of heat maps needs", "heatmaps")


def test_models_with_reset_blocks_explain_what_runs_a_model():
    config = config_of(methods=["random", "attn_lrp", "legrad_cls", "probe"])
    assert applicable.methods(config, "m") == ["random", "attn_lrp", "probe"]
    assert applicable.randomised_methods(config, "m") == ["attn_lrp"]
    assert applicable.randomised_methods(config, "m-random") == []  # a twin has none


@pytest.mark.parametrize(
    ("methods", "sites", "probed"),
    [
        (["random"], ["mlp", "attn"], ["attn", "mlp"]),
        (["random"], ["mlp", "residual"], ["residual", "mlp"]),
        (["random", "probe"], ["attn"], ["residual", "attn"]),
    ],
)
def test_probes_read_what_the_explanation_by_probes_needs(methods, sites, probed):
    assert planning.probed_sites(config_of({"sites": sites}, methods=methods)) == probed
