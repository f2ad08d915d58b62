"""What training does: a model at several checkpoints."""

from classlens.catalog import files
from classlens.catalog.job import ATTRIBUTION, RANKS, SERIES, Analysis, Figure, Job, Reported

DIFFERENCE = "results/tables/difference_{pair}.csv"
OF_PAIR = "What the second of two models, {pair}, does otherwise than the first on the same images: "

PASSES = ()
JOBS = (
    Job(
        "difference",
        "classlens.measures.difference:difference",
        inputs={
            "identifiability": files.of_pair(files.MEASURED_IDENTIFIABILITY),
            "attribution": files.of_pair(files.ATTRIBUTION, ATTRIBUTION),
            "effects": files.of_pair(files.HEAD_EFFECTS, ATTRIBUTION),
        },
        outputs={"table": DIFFERENCE},
        settings=("resampling", "statistics.correction"),
        group="summary",
        reported=Reported(
            "Training",
            {"table": "table: difference"},
            OF_PAIR + "accuracy, the correct class's logit, identifiability per block, what each part writes into the "
            "logit, and the effect of each head. Means over images with bootstrap intervals ({resamples} resamples), "
            "and two-sided sign-flip tests, {correction} correction over the table.",
        ),
    ),
    Job(
        "difference_figure",
        "classlens.figures.run:draw_figure",
        inputs={"table": DIFFERENCE},
        outputs={suffix: f"results/figures/difference_{{pair}}.{suffix}" for suffix in ("svg", "png")},
        settings=("difference_drawing",),
        functions={"draw": "classlens.figures.difference:draw"},
        environment="figures",
        group="summary",
        reported=Reported(
            "Training",
            {"svg": "figure: difference"},
            OF_PAIR + "mean difference of identifiability by block, with bootstrap intervals over images; of what each "
            "head writes into the correct class's output logit; and of how far that logit falls without it. A star: "
            "the difference is not 0 by a two-sided sign-flip test, {correction} correction over the whole table.",
        ),
    ),
)
ANALYSES = (
    Analysis(
        "series_identifiability",
        section="Training",
        function="classlens.measures.series:series_identifiability",
        inputs={"measures": files.of_points(files.MEASURED_IDENTIFIABILITY)},
        tables={"table": "series_identifiability", "accuracy": "series_accuracy"},
        settings=("resampling", "points"),
        needs=(SERIES, RANKS),
        caption="Identifiability of [CLS] and image tokens after each block, and accuracy, at every checkpoint of a "
        "series (model: its last point), with bootstrap intervals over images.",
        figure=Figure(
            content="figure: identifiability over training",
            inputs={"accuracy": "results/tables/series_accuracy.csv"},
            settings=("chance_levels", "series_labels"),
            caption="When the class appears. Left: mean identifiability of [CLS] and of image tokens after each block, "
            "at every checkpoint; grey is chance, (C + 1) / 2C with C classes. Right: the same as a curve for each "
            "block. Below: accuracy. Bands are bootstrap intervals over images.",
        ),
    ),
    Analysis(
        "series_heads",
        section="Training",
        function="classlens.measures.series:series_heads",
        inputs={"causes": files.of_points("results/tables/head_causes_{model}.csv")},
        settings=("points",),
        needs=(SERIES, ATTRIBUTION),
        caption="What every head writes into the correct class's output logit (direct), and the effect of replacing "
        "its output by its mean over images, at every checkpoint of a series (model: its last point), with bootstrap "
        "intervals over images; begins: the first checkpoint from which on the interval of the effect stays above 0.",
        figure=Figure(
            content="figure: heads over training",
            settings=("series_labels",),
            caption="Which heads make the class, and since when: a row per head (block.head), a column per checkpoint. "
            "Left: what it writes into the correct class's output logit directly. Right: how far that logit falls when "
            "the head's output is replaced by its mean over images. A dot marks the first checkpoint from which on the "
            "bootstrap interval of the effect over images stays above 0.",
        ),
    ),
    Analysis(
        "series_words",
        section="Training",
        function="classlens.measures.series:series_words",
        inputs={"words": files.of_points(files.HEAD_WORDS)},
        settings=("points",),
        needs=(SERIES, ATTRIBUTION),
        caption="The class that explains most of what each head writes, with the share that it explains, at every "
        "checkpoint of a series (model: its last point); name: that class where the share is beyond random directions.",
        figure=Figure(
            content="figure: heads in words over training",
            settings=("series_labels",),
            caption="What heads stand for over training: a row per head (block.head), a column per checkpoint. A cell "
            "has the class that explains most of what the head writes, in colour by the share that it explains, where "
            "that is beyond random directions; grey cells are not named.",
        ),
    ),
)
