"""What is left of a model when attention is restricted or tokens are taken out."""

from classlens.catalog import applicable, files
from classlens.catalog.job import MASKS, RANKS, Analysis, Pass
from classlens.catalog.kinds import ATTENTION_KINDS, TOKEN_KINDS

ATTENTION = "results/{model}/perturbation/attention_{kind}.h5"

PASSES = (
    Pass(
        "perturb_attention",
        code="classlens.passes.attention_perturbation:PerturbAttention",
        rows=ATTENTION,
        settings=("attention_kind",),
        wildcards={"kind": ATTENTION_KINDS},
        needs=(RANKS,),
        minutes=240,
    ),
    Pass(
        "perturb_tokens",
        code="classlens.passes.token_perturbation:PerturbTokens",
        rows="results/{model}/perturbation/tokens_{kind}.h5",
        inputs={"labels": files.TOKEN_LABELS},
        settings=("wildcards.kind",),
        wildcards={"kind": TOKEN_KINDS},
        needs=(MASKS, RANKS),
        minutes=240,
    ),
)
JOBS = ()
ANALYSES = (
    Analysis(
        "attention_perturbation",
        section="Perturbations",
        function="classlens.measures.perturbations:attention_perturbation",
        inputs={
            "last_layer": files.last_layer,
            "output": files.OUTPUT,
            "perturbed": files.of_methods(ATTENTION, applicable.attention_kinds, "kind"),
        },
        settings=("attention_kinds", "resampling"),
        needs=(RANKS,),
        caption="Identifiable tokens at the last block and accuracy when image tokens attend to themselves alone "
        "(self_only), or not to [CLS]: its weight taken out after the softmax as published (no_cls), or "
        "masked before it (no_cls_renormalised). Intervals are bootstraps over images.",
    ),
    Analysis(
        "token_perturbation",
        section="Perturbations",
        function="classlens.measures.perturbations:token_perturbation",
        inputs={
            "last_layer": files.last_layer,
            "output": files.OUTPUT,
            "labels": files.TOKEN_LABELS,
            "perturbed": lambda _config, wildcards: [path.format(**wildcards) for path in files.TOKEN_PERTURBATIONS],
        },
        needs=(MASKS, RANKS),
        caption="Identifiable class tokens when context tokens are taken out and the reverse, beside the same tokens "
        "of the whole image, and accuracy. Images without such tokens are counted and kept out.",
    ),
)
