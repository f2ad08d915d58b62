"""Perturbations, explanations with their faithfulness, and linear probes."""

from classlens.catalog import files, settings
from classlens.catalog.job import ATTRIBUTION, HEATMAP_METHOD, MASKS, TRAINING_IMAGES, Analysis, Figure, Gpu

RESAMPLING = (settings.resampling,)

ANALYSES = (
    Analysis(
        "attention_perturbation",
        section="Perturbations",
        function="classlens.perturbation.rates:attention_perturbation",
        inputs={"last_layer": files.last_layer, "output": files.OUTPUT, "perturbed": files.attention_perturbations},
        settings=(settings.attention_kinds, *RESAMPLING),
        caption="Identifiable tokens at the last block and accuracy when image tokens attend to themselves alone "
        "(self_only), or not to [CLS]: its weight taken out after the softmax as published (no_cls), or "
        "masked before it (no_cls_renormalised). Intervals are bootstraps over images.",
    ),
    Analysis(
        "token_perturbation",
        section="Perturbations",
        function="classlens.perturbation.rates:token_perturbation",
        inputs={
            "last_layer": files.last_layer,
            "output": files.OUTPUT,
            "labels": files.TOKEN_LABELS,
            "perturbed": lambda _config, wildcards: [path.format(**wildcards) for path in files.TOKEN_PERTURBATIONS],
        },
        settings=RESAMPLING,
        needs=(MASKS,),
        caption="Identifiable class tokens when context tokens are taken out and the reverse, beside the same tokens "
        "of the whole image, and accuracy. Images without such tokens are counted and kept out.",
    ),
    Analysis(
        "logit_attribution",
        section="Class building",
        function="classlens.measures.logit_attribution:logit_attribution",
        inputs={"attribution": files.ATTRIBUTION},
        settings=RESAMPLING,
        needs=(ATTRIBUTION,),
        one_model=True,
        caption="{model}: mean contributions to the output logit of the correct class, with bootstrap intervals over "
        "images: of attention (with its biases) and MLP of every block, of the embedding and of constants, which add "
        "up to the logit; and of every head, over all tokens that it reads.",
        figure=Figure(
            "classlens.figures.logit_attribution:draw",
            content="figure: who writes the logit",
            caption="{model}: mean contributions to the output logit of the correct class, with the norms after each "
            "branch frozen at their values on the image. Left: attention and MLP of every block and, beside them, what "
            "belongs to no block: the embedding and constants (biases of the last norms and of the head); all bars add "
            "up to the mean logit. Lines are bootstrap intervals over images. Right: every head, over all tokens that "
            "it reads.",
        ),
    ),
    Analysis(
        "heatmaps",
        section="Explanations",
        function="classlens.explanations.heatmaps:heatmaps",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS, "output": files.OUTPUT},
        settings=(settings.network, settings.heatmap_images, settings.block_and_head),
        local=(settings.device, settings.threads),
        plugins=settings.explain_heatmap,
        needs=(HEATMAP_METHOD,),
        one_model=True,
        environment="torch",
        gpu=Gpu(minutes=30, mem_mb=8000),
        cluster_group="",
        of_images=False,
        caption="Importance of every image token of the figure's {heatmap_images} images, by image, class, and map.",
        figure=Figure(
            "classlens.figures.heatmaps:draw",
            content="figure: heat maps",
            inputs={"pixels": files.EVALUATION, "stimuli": files.STIMULI},
            settings=(settings.block_and_head,),
            caption="Importance of image tokens for the correct class and for a second class (the model's strongest "
            "wrong one unless the config names another) by the explanation {heatmap_method}, summed over blocks "
            "and heads, and below for one block and head. Red is evidence for the class, blue against it; each map "
            "is scaled to its largest value.",
        ),
    ),
    Analysis(
        "removal_curves",
        section="Explanations",
        group="faithfulness",
        function="classlens.faithfulness.table:removal_curves_table",
        rule="removal_curves_table",
        inputs={
            "curves": files.of_methods("faithfulness", "csv"),
            "areas": "results/{model}/measures/faithfulness_auc.csv",
        },
        settings=(settings.methods, settings.image_tokens),
        one_model=True,
        caption="Accuracy of {model} by explanation, direction and number of removed image tokens, with the area "
        "under each curve.",
        figure=Figure(
            "classlens.figures.removal_curves:draw",
            content="figure: removal curves",
            opening=True,
            settings=(settings.method_labels,),
            caption="Accuracy of {model} while image tokens are removed, the least important ones first (negative "
            "test) and the most important ones first (positive test), by each explanation. The band of random "
            "orders spans several seeds. In brackets the areas under both curves: a faithful explanation has "
            "a large first and a small second one.",
        ),
    ),
    Analysis(
        "faithfulness_auc",
        section="Explanations",
        group="faithfulness",
        function="classlens.faithfulness.area:faithfulness_auc",
        inputs={"correct_per_image": files.of_methods("faithfulness", "h5")},
        settings=(settings.methods, *RESAMPLING),
        caption="Areas under the removal curves of every explanation with bootstrap intervals over images, their "
        "ratio to the unperturbed accuracy, and the area as the paper computed it.",
    ),
    Analysis(
        "segmentation_scores",
        section="Explanations",
        group="segmentation",
        function="classlens.explanations.segmentation:segmentation_scores",
        inputs={"masks": files.PIXEL_MASKS, "explanations": files.of_methods("explanation", "h5")},
        settings=(settings.methods, settings.token_grid, *RESAMPLING),
        needs=(MASKS,),
        environment="data",
        caption="How well explanations find the object, with bootstrap intervals over images.",
        figure=Figure(
            "classlens.figures.segmentation_scores:draw",
            content="figure: segmentation scores",
            settings=(settings.method_labels,),
            caption="How well explanations find the object: share of images whose most important token lies on it "
            "(pointing game), pixel accuracy and intersection over union of the tokens above the map's mean, "
            "and average precision. Bars are means over images with bootstrap intervals.",
        ),
    ),
    Analysis(
        "explanation_quality",
        section="Explanations",
        function="classlens.faithfulness.quality:explanation_quality",
        inputs={
            "tokens": files.of_methods("faithfulness", "h5"),
            "pixels": files.of_methods("faithfulness", "h5", "_pixels"),
            "segmentation": files.segmentation_scores,
            "explanations": files.of_randomised("explanation"),
            "randomised": files.of_randomised("randomisation"),
        },
        settings=(settings.methods, settings.randomised_methods, *RESAMPLING),
        one_model=True,
        caption="{model}: quality of every explanation, with bootstrap intervals over images: areas under removal "
        "curves on tokens and on pixels, their gap and how far it falls short of the largest one, segmentation scores "
        "where there are masks, and the rank correlation with explanations by the same model with blocks reset "
        "({randomised} images).",
        figure=Figure(
            "classlens.figures.explanation_quality:draw",
            content="figure: quality of explanations",
            settings=(settings.method_labels,),
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
        function="classlens.probes.accuracy:linear_probes",
        inputs={"probes": files.probes, "layers": files.LAYERS},
        settings=RESAMPLING,
        needs=(TRAINING_IMAGES,),
        one_model=True,
        caption="{model}: accuracy of linear probes and of the class projection by site, block and group of tokens, "
        "with bootstrap intervals over images.",
        figure=Figure(
            "classlens.figures.linear_probes:draw",
            content="figure: linear probes",
            inputs={"removal": "results/tables/removal_curves_{model}.csv"},
            settings=(settings.method_labels,),
            caption="{model}: accuracy of linear probes that were fitted to each token's features, and of the class "
            "projection at the same tokens, per block and site, with bootstrap intervals over images; and "
            "removal curves of the explanations that follow from the two.{registers}",
        ),
    ),
)
