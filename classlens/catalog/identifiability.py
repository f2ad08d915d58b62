"""Identifiability over depth, and how a class is built."""

from typing import Any

from classlens.catalog import files
from classlens.catalog.job import MASKS, RANKS, Analysis, Figure, Job, Pass

IDENTIFIABILITY: dict[str, Any] = {
    "section": "Identifiability", "group": "identifiability", "needs": (RANKS,),
}  # fmt: skip
CLASS_AND_CONTEXT: dict[str, Any] = {
    "section": "Class and context", "group": "class_vs_context", "needs": (MASKS, RANKS),
    "cluster_group": "layers_{model}",
}  # fmt: skip

PASSES = (
    Pass("extract", code="classlens.passes.extraction:Extraction", rows=files.EXTRACTED, in_shards=True, minutes=60),
)
JOBS = (
    Job(
        "gather",
        "classlens.passes.gather:gather",
        inputs={"shards": files.all_shards(files.EXTRACTED)},
        outputs={"output": files.OUTPUT},
        of_blocks={"layers": "results/{model}/layers"},
        local=("threads",),
        environment="data",
        minutes=60,
    ),
    Job(
        "identifiability",
        "classlens.measures.identifiability:identifiability",
        inputs={"layers": files.LAYERS, "output": files.OUTPUT},
        outputs={"measures": files.MEASURED_IDENTIFIABILITY},
        group="layers_{model}",
    ),
)
ANALYSES = (
    Analysis(
        "one_image",
        settings=(),
        needs=(RANKS,),
        section="At a glance",
        inputs={"layers": files.LAYERS, "measures": files.MEASURED_IDENTIFIABILITY, "output": files.OUTPUT},
        one_model=True,
        of_images=False,
        caption="{model}: every token of one image after every block: rank and identifiability of the correct class, "
        "and the strongest class. The image is the one, of those that the model gets right, whose identifiability over "
        "depth is nearest to the mean of all.",
        figure=Figure(
            content="figure: one image, block by block",
            inputs={"pixels": files.EVALUATION, "stimuli": files.STIMULI},
            settings=("chance_level", "grid"),
            caption="One image through the lens: after each block, every image token of {model} is projected onto the "
            "classes with the model's own norm and head. In red tokens the image's class is identifiable above chance, "
            "in blue ones below; a dot: no class is above it. Panels of a model with [CLS] name the strongest class "
            "there. The image is the one, of those that the model gets right, whose identifiability over depth is "
            "nearest to the mean of all evaluation images.",
            opening=True,
        ),
    ),
    Analysis(
        "identifiability_evolution",
        inputs={"measures": files.MEASURED_IDENTIFIABILITY, "twin": files.of_twin(files.MEASURED_IDENTIFIABILITY)},
        tested=True,
        caption="Identifiability of each model's [CLS] and image tokens per block, beside its random twin: mean of "
        "the images' means with its bootstrap interval, five-number summary over tokens, paired difference to "
        "the twin with its interval, one-sided sign-flip p-value, and that p-value corrected over the table.",
        figure=Figure(
            content="figure: per block",
            settings=("chance_levels",),
            caption="Identifiability (1 - rank of the correct class / number of classes) of [CLS] and image tokens "
            "after each block. Boxes show quartiles over all tokens, whiskers reach to the last token within "
            "1.5 box heights, and the line marks chance, (C + 1) / 2C with C classes. A star marks blocks "
            "where the model exceeds its random twin: one-sided sign-flip test over images, {correction} "
            "correction over the whole figure.{registers}",
        ),
        **IDENTIFIABILITY,
    ),
    Analysis(
        "identifiability_comparison",
        inputs={"measures": files.MEASURED_IDENTIFIABILITY},
        twins=True,
        caption="Mean identifiability at each of 12 positions of the normalised depth axis, with bootstrap intervals "
        "over images. Block b of B lies at position 12 b / B, rounded up: blocks that share a position are averaged "
        "within each image, and a model of fewer than 12 blocks leaves positions empty (six lie at 2, 4, ..., 12)."
        "{registers}",
        figure=Figure(
            content="figure: normalised depth",
            settings=("chance_levels", "twins"),
            caption="Mean identifiability over depth normalised to 12 positions, [CLS] and image tokens apart. Bands "
            "are bootstrap intervals over images, grey lines random twins, the dashed line chance, (C + 1) / "
            "2C with C classes. Block b of B lies at position 12 b / B, rounded up: a model of fewer than 12 "
            "blocks leaves positions empty (six lie at 2, 4, ..., 12).{registers}",
            opening=True,
        ),
        **IDENTIFIABILITY,
    ),
    Analysis(
        "identifiability_rates",
        inputs={"measures": files.MEASURED_IDENTIFIABILITY},
        twins=True,
        caption="The last block: % of image tokens whose strongest class is the correct one (averaged over images), % "
        "of images with at least one such token, and the accuracy of the model (a fraction), each with its "
        "bootstrap interval over images.",
        **IDENTIFIABILITY,
    ),
    Analysis(
        "logit_increment",
        section="Class building",
        inputs={"layers": files.LAYERS},
        cluster_group="layers_{model}",
        caption="% of image tokens whose logit of the correct class rises from one block's residual to the next, "
        "averaged over images, with bootstrap intervals over images.",
        figure=Figure(
            content="figure: logit increment",
            caption="Share of image tokens whose logit of the correct class rises from one block's residual to the "
            "next, averaged over images. Bands are bootstrap intervals over images. The dashed line: as many "
            "tokens rise as fall.",
        ),
    ),
    Analysis(
        "class_building",
        needs=(RANKS,),
        section="Class building",
        inputs={"layers": files.LAYERS},
        one_model=True,
        cluster_group="layers_{model}",
        caption="How the blocks of {model} build the class: the rates of the figure with bootstrap intervals over "
        "images, and match rates, which overlap.",
        figure=Figure(
            content="figure: class building",
            caption="How the blocks of {model} build the class. Left: share of tokens at which a branch's own logit "
            "of the correct class exceeds that of the residual before it, with bootstrap intervals over images. "
            "Right: where the strongest class of the residual is found: in the residual of the previous block, in the "
            "output of attention, in that of the MLP, in several of these, or in none (composition). The parts "
            "exclude each other and sum to 100 %; the table also has the match rates, which overlap.",
        ),
    ),
    Analysis(
        "class_vs_context",
        inputs={"layers": files.LAYERS, "labels": files.TOKEN_LABELS},
        settings=("resampling", "statistics.correction"),
        one_model=True,
        caption="Identifiability of class and context tokens of {model}, block by block, with means, five-number "
        "summaries, their difference with its interval, and its p-value before and after {correction} "
        "correction over the blocks.",
        figure=Figure(
            content="figure: class and context",
            settings=("chance_level",),
            caption="Identifiability of the image tokens of {model} that show the class ({class_tokens}) and of those "
            "that show its context, block by block. Boxes show quartiles over tokens, the dashed line is chance, (C + "
            "1) / 2C with C classes. A star marks blocks where the two groups differ: two-sided sign-flip test of "
            "each image's difference of means, {correction} correction over the blocks of the figure.",
        ),
        **CLASS_AND_CONTEXT,
    ),
    Analysis(
        "class_context_change",
        inputs={"layers": files.LAYERS, "labels": files.TOKEN_LABELS},
        tested=True,
        caption="Mean change of the correct class's logit in class and in context tokens: what a block makes of the "
        "residual before it, and what its two branches hold beside it. Differences (class - context) with "
        "bootstrap intervals over images, two-sided sign-flip p-values, and those corrected over the table.",
        **CLASS_AND_CONTEXT,
    ),
)
