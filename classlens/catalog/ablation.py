"""Who writes the logit, and does the model use what the lens sees? Heads and tokens replaced by their means."""

from typing import Any

from classlens.catalog import files
from classlens.catalog.job import ATTRIBUTION, RANKS, Analysis, Figure, Pass

CAUSES: dict[str, Any] = {
    "section": "Causes", "settings": ("resampling", "statistics.correction"), "one_model": True,
}  # fmt: skip

PASSES = (
    # What heads, MLPs and the rest write into each image's logit.
    Pass(
        "attribute_logits",
        code="classlens.passes.attribution:AttributeLogits",
        rows=files.ATTRIBUTION,
        needs=(ATTRIBUTION,),
        minutes=240,
    ),
    # Before others: they take longest of all that wait for a model's weights, and tables and figures wait for them.
    Pass(
        "head_effects",
        code="classlens.passes.head_effects:HeadEffects",
        rows=files.HEAD_EFFECTS,
        sums="classlens.passes.head_effects:HeadSums",
        inputs={"attribution": files.attribution},
        minutes=720,
        priority=1,
    ),
    Pass(
        "token_effects",
        code="classlens.passes.token_effects:TokenEffects",
        rows=files.TOKEN_EFFECTS,
        sums="classlens.passes.token_effects:ResidualSums",
        inputs={"layers": files.LAYERS, "labels": files.token_labels},
        settings=("outliers.norm", "seed", "has_labels"),
        minutes=720,
        priority=1,
    ),
)
JOBS = ()
ANALYSES = (
    Analysis(
        "logit_attribution",
        section="Class building",
        inputs={"attribution": files.ATTRIBUTION},
        needs=(ATTRIBUTION,),
        one_model=True,
        caption="{model}: mean contributions to the output logit of the correct class, with bootstrap intervals over "
        "images: of attention (with its biases) and MLP of every block, of the embedding and of constants, which add "
        "up to the logit; and of every head, over all tokens that it reads.",
        figure=Figure(
            content="figure: who writes the logit",
            caption="{model}: mean contributions to the output logit of the correct class, with the norms after each "
            "branch frozen at their values on the image. Left: attention and MLP of every block and, beside them, what "
            "belongs to no block: the embedding and constants (biases of the last norms and of the head); all bars add "
            "up to the mean logit. Lines are bootstrap intervals over images. Right: every head, over all tokens that "
            "it reads.",
        ),
    ),
    Analysis(
        "head_causes",
        inputs={"effects": files.HEAD_EFFECTS, "twin": files.of_twin(files.HEAD_EFFECTS)},
        tables={"table": "head_causes", "agreement": "head_causes_agreement"},
        caption="{model}: what every head writes into the correct class's output logit (direct), and the effect of "
        "replacing its output at every token by its mean over images, both as means over images with bootstrap "
        "intervals; their difference with a two-sided sign-flip test, {correction} correction over the table; and the "
        "rank correlation of the two over heads. The same of the random twin. Without direct contributions where the "
        "output is no sum of what heads write.",
        figure=Figure(
            content="figure: heads",
            inputs={"agreement": "results/tables/head_causes_agreement_{model}.csv"},
            caption="{model}: a dot per head. Horizontal axis: what it writes into the correct class's output logit "
            "directly. Vertical axis: how far that logit falls when the head's output at every token is replaced by "
            "its mean over images. Lines are bootstrap intervals over images; so is the interval of Spearman's "
            "correlation over heads. On the dashed line, a head's whole effect is what it writes into the logit "
            "directly; the heads furthest from it are named (block.head): later layers add to their effect, or cancel "
            "it. If direct contributions did not rank effects at all, reading heads through the class embedding would "
            "not show what the model uses. Where the output is no sum of what heads write, the horizontal axis is the "
            "block.",
        ),
        **CAUSES,
    ),
    Analysis(
        "token_causes",
        inputs={"effects": files.TOKEN_EFFECTS, "twin": files.of_twin(files.TOKEN_EFFECTS)},
        caption="{model}: effect on the correct class's output logit, and accuracy, when image tokens after a block "
        "are replaced by their mean over images at the same place: the tenth with the highest and the lowest "
        "identifiability, a tenth at random (mean of five draws), class and context tokens where there are masks, "
        "outlier tokens and as many others. Means over images that have such tokens, with bootstrap intervals; "
        "differences to the set named as reference with a two-sided sign-flip test, {correction} correction over the "
        "table. The same of the random twin.",
        figure=Figure(
            content="figure: tokens",
            caption="{model}: how far the correct class's output logit falls when image tokens after a block are "
            "replaced by their mean over images at the same place. Bands are bootstrap intervals over images. Stars, "
            "in a line's colour, mark blocks where a set differs from its reference (random tenth, context tokens, as "
            "many others): two-sided sign-flip test over images, {correction} correction over the whole table. Sets "
            "by mask differ in size. The paper's premise would be contradicted where the most identifiable tokens "
            "matter no more than random ones; after the last block nothing but [CLS] is read, where the model has one.",
        ),
        **CAUSES,
    ),
    Analysis(
        "outlier_tokens",
        section="Causes",
        needs=(RANKS,),
        inputs={"layers": files.LAYERS},
        settings=("outliers.norm", "resampling"),
        tested=True,
        twins=True,
        caption="Image tokens whose Euclidean norm after a block is above {outlier_rule}: their share, and their "
        "identifiability beside that of the other image tokens, over images that have both, with bootstrap intervals "
        "over images and a two-sided sign-flip test, {correction} correction over the table.",
        figure=Figure(
            content="figure: outlier tokens",
            settings=("chance_levels", "twin_of"),
            caption="Left: share of image tokens whose Euclidean norm after a block is above {outlier_rule}. Right: "
            "mean identifiability of these outlier tokens and of the others, over images that have both; a star marks "
            "blocks where they differ: two-sided sign-flip test over images, {correction} correction over the whole "
            "figure. The dashed line is chance, (C + 1) / 2C with C classes. Outliers that identified no class would "
            "speak for tokens that models use as registers.{registers}",
        ),
    ),
)
