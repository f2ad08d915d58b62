"""Explanations with their faithfulness, and linear probes."""

from classlens.catalog import applicable, files
from classlens.catalog.job import (
    EXECUTION,
    HEATMAP_METHOD,
    MASKS,
    RANKS,
    TRAINING_IMAGES,
    Analysis,
    Figure,
    Gpu,
    Job,
    Pass,
)
from classlens.catalog.methods import METHODS

COMPUTED = tuple(name for name, method in METHODS.items() if method.compute)

PASSES = (
    Pass(
        "explanation",
        code="classlens.passes.explanation:Explanation",
        rows=files.EXPLANATION,
        settings=("has_maps", "method_settings"),
        plugins=("explain",),
        wildcards={"method": COMPUTED},
        minutes=240,
    ),
    Pass(
        "remove_tokens",
        code="classlens.passes.token_removal:RemoveTokens",
        rows=f"{files.REMOVED}.h5",
        finish="classlens.passes.removal_curves:join_removal_curves",
        finished={"curves": f"{files.REMOVED}.csv", "correct_per_image": f"{files.REMOVED}.h5"},
        inputs={"explanation": files.importance},
        settings=("removal",),
        minutes=720,
    ),
    Pass(
        "remove_pixels",
        code="classlens.passes.pixel_removal:RemovePixels",
        rows=f"{files.REMOVED_PIXELS}.h5",
        finish="classlens.passes.removal_curves:join_pixel_curves",
        finished={"curves": f"{files.REMOVED_PIXELS}.csv", "correct_per_image": f"{files.REMOVED_PIXELS}.h5"},
        inputs={"explanation": files.importance},
        settings=("removal_seeds",),
        minutes=240,
    ),
)
JOBS = (
    Job(
        "random_explanation",
        "classlens.explanations.random:write_random_explanation",
        inputs={"pixels": files.EVALUATION},
        outputs={"explanation": "results/{model}/explanation/random.h5"},
        settings=("image_tokens", "seed"),
    ),
    Job(
        "probe_explanation",
        "classlens.probes.importance:probe_explanation",
        inputs={"probes": files.RESIDUAL_PROBES},
        outputs={"explanation": "results/{model}/explanation/probe.h5"},
        needs=(TRAINING_IMAGES, RANKS),
    ),
    # By the same model with its blocks reset, from the last to the first.
    Job(
        "randomised_explanation",
        "classlens.passes.randomisation:randomised_explanations",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS, "control": files.of_twin(files.WEIGHTS)},
        outputs={"randomised": files.RANDOMISED},
        settings=("network", "randomised_images", "method_settings"),
        local=EXECUTION,
        plugins=("explain",),
        wildcards={"method": COMPUTED},
        gpu=Gpu(240),
        trial="classlens.check.trials:randomised",
    ),
    # A block at a time: its sites share forward passes that end after it. Sums are too large to be kept in files.
    Job(
        "linear_probe",
        "classlens.probes.fit:linear_probe",
        inputs={"training": files.TRAINING, "evaluation": files.EVALUATION, "weights": files.WEIGHTS},
        of_sites={"probes": "results/{model}/probes/{site}/block_{block}.h5"},
        settings=("network", "probed"),
        local=(*EXECUTION, "probes.memory_gib"),
        needs=(TRAINING_IMAGES, RANKS),
        gpu=Gpu(720, 32000),
        trial="classlens.check.trials:linear_probes",
    ),
)
ANALYSES = (
    Analysis(
        "heatmaps",
        section="Explanations",
        function="classlens.explanations.heatmaps:heatmaps",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS, "output": files.OUTPUT},
        settings=("network", "heatmap_images", "block_and_head"),
        local=("extraction.device", "threads"),
        plugins=("explain_heatmap",),
        needs=(HEATMAP_METHOD, RANKS),
        one_model=True,
        gpu=Gpu(minutes=30, mem_mb=8000),
        cluster_group="",
        of_images=False,
        caption="Importance of every image token of the figure's {heatmap_images} images, by image, class, and map.",
        figure=Figure(
            content="figure: heat maps",
            inputs={"pixels": files.EVALUATION, "stimuli": files.STIMULI},
            settings=("block_and_head", "heatmap_signed"),
            caption="Importance of image tokens for the correct class and for a second class (the model's strongest "
            "wrong one unless the config names another) by the explanation {heatmap_method}, summed over blocks "
            "and heads, and below for one block and head. {heatmap_colours}; each map is scaled to its largest value.",
        ),
    ),
    Analysis(
        "removal_curves",
        section="Explanations",
        group="faithfulness",
        function="classlens.measures.removal_curves:removal_curves_table",
        inputs={
            "curves": files.of_methods(f"{files.REMOVED}.csv"),
            "areas": "results/{model}/measures/faithfulness_auc.csv",
        },
        settings=("methods", "image_tokens"),
        one_model=True,
        caption="Accuracy of {model} by explanation, direction and number of removed image tokens, with the area "
        "under each curve. Of a score: its mean absolute change in place of accuracy.",
        figure=Figure(
            content="figure: removal curves",
            opening=True,
            settings=("method_labels", "removal_axis"),
            caption="Accuracy of {model} while image tokens are removed, the least important ones first (negative "
            "test) and the most important ones first (positive test), by each explanation. The band of random "
            "orders spans several seeds. In brackets the areas under both curves: a faithful explanation has "
            "a large first and a small second one. Of a score its mean absolute change is shown: then the first is to "
            "be small and the second large.",
        ),
    ),
    Analysis(
        "faithfulness_auc",
        section="Explanations",
        group="faithfulness",
        inputs={"correct_per_image": files.of_methods(f"{files.REMOVED}.h5")},
        settings=("methods", "resampling"),
        caption="Areas under the removal curves of every explanation with bootstrap intervals over images, their "
        "ratio to the unperturbed accuracy, and the area as the paper computed it.",
    ),
    Analysis(
        "segmentation_scores",
        section="Explanations",
        group="segmentation",
        inputs={"masks": files.PIXEL_MASKS, "explanations": files.of_methods(files.EXPLANATION)},
        settings=("methods", "token_grid", "resampling"),
        needs=(MASKS,),
        environment="data",
        caption="How well explanations find the object, with bootstrap intervals over images.",
        figure=Figure(
            content="figure: segmentation scores",
            settings=("method_labels",),
            caption="How well explanations find the object: share of images whose most important token lies on it "
            "(pointing game), pixel accuracy and intersection over union of the tokens above the map's mean, "
            "and average precision. Bars are means over images with bootstrap intervals.",
        ),
    ),
    Analysis(
        "explanation_quality",
        section="Explanations",
        inputs={
            "tokens": files.of_methods(f"{files.REMOVED}.h5"),
            "pixels": files.of_methods(f"{files.REMOVED_PIXELS}.h5"),
            "segmentation": files.segmentation_scores,
            "explanations": files.of_methods(files.EXPLANATION, applicable.randomised_methods),
            "randomised": files.of_methods(files.RANDOMISED, applicable.randomised_methods),
        },
        settings=("methods", "randomised_methods", "resampling"),
        needs=(RANKS,),
        one_model=True,
        caption="{model}: quality of every explanation, with bootstrap intervals over images: areas under removal "
        "curves on tokens and on pixels, their gap and how far it falls short of the largest one, segmentation scores "
        "where there are masks, and the rank correlation with explanations by the same model with blocks reset "
        "({randomised} images).",
        figure=Figure(
            content="figure: quality of explanations",
            settings=("method_labels",),
            caption="{model}: gap between the areas under the removal curves when the least and when the most "
            "important tokens, or pixels, are removed first (larger is better), segmentation scores where there are "
            "masks, and rank correlation with explanations by the same model with its last blocks reset, and by its "
            "random twin ({randomised} images; an explanation of what was learnt falls to 0). Bars and bands are "
            "bootstrap intervals over images.",
        ),
    ),
    Analysis(
        "linear_probes",
        section="Linear probes",
        inputs={"probes": files.probes, "layers": files.LAYERS},
        needs=(TRAINING_IMAGES, RANKS),
        one_model=True,
        caption="{model}: accuracy of linear probes and of the class projection by site, block and group of tokens, "
        "with bootstrap intervals over images.",
        figure=Figure(
            content="figure: linear probes",
            inputs={"removal": "results/tables/removal_curves_{model}.csv"},
            settings=("method_labels",),
            caption="{model}: accuracy of linear probes that were fitted to each token's features, and of the class "
            "projection at the same tokens, per block and site, with bootstrap intervals over images; and "
            "removal curves of the explanations that follow from the two.{registers}",
        ),
    ),
)
