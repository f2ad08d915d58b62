"""What a model should not look at: accuracy by groups of images, heads that carry a shortcut, and the model without."""

from classlens.catalog import files
from classlens.catalog.job import (
    ATTRIBUTION,
    EXECUTION,
    FOLDED,
    GROUPS,
    RANKS,
    SHORTCUT,
    Analysis,
    Figure,
    Gpu,
    Job,
    Pass,
)

EVIDENCE = "results/{model}/shortcuts/heads.h5"
ANSWERS = "results/{model}/shortcuts/repair.h5"

PASSES = (
    # What heads write into the class that the model predicts, right or wrong.
    Pass(
        "head_evidence",
        code="classlens.passes.head_evidence:HeadEvidence",
        rows=EVIDENCE,
        inputs={"output": files.OUTPUT, "labels": files.token_labels},
        needs=(ATTRIBUTION, RANKS),
        minutes=240,
    ),
)
JOBS = (
    Job(
        "repair_model",
        "classlens.passes.repair:write_repair",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS, "groups": files.GROUPS},
        outputs={"answers": ANSWERS, "repaired": files.REPAIRED, "own_weights": files.REPAIRED_WEIGHTS},
        settings=("network", "spurious", "repair.heads", "seed", "resampling"),
        local=EXECUTION,
        needs=(GROUPS, SHORTCUT, FOLDED, RANKS),
        gpu=Gpu(720),
        trial="classlens.check.trials:repair",
    ),
)
ANALYSES = (
    Analysis(
        "group_accuracy",
        section="Shortcuts",
        inputs={"output": files.OUTPUT, "stimuli": files.STIMULI, "groups": files.GROUPS},
        needs=(GROUPS, RANKS),
        caption="Accuracy by group of images, a class with a value of an attribute: of each group, of all images, of "
        "the worst group with at least ten images, and the gap between these two. Bootstrap intervals over images "
        "within groups; the worst group is found anew in each resample.",
        figure=Figure(
            content="figure: accuracy by group",
            caption="Accuracy of each group of images (a class with a value of an attribute), those with the smallest "
            "first, with bootstrap intervals over images. The line is the accuracy over all images, the band its "
            "interval; a ring marks the worst group with at least ten images.",
        ),
    ),
    Analysis(
        "shortcut_heads",
        section="Shortcuts",
        inputs={
            "evidence": EVIDENCE,
            "twin": files.of_twin(EVIDENCE),
            "output": files.OUTPUT,
            "groups": files.GROUPS,
            "words": files.head_words,
        },
        settings=("spurious", "resampling", "statistics.correction"),
        needs=(GROUPS, SHORTCUT, ATTRIBUTION, RANKS),
        one_model=True,
        caption="{model}: how far what each head writes into the predicted class's logit goes with the attribute "
        "{attribute}: eta squared within classes (share of the variance over a class's images that lies between its "
        "groups) with bootstrap intervals over images, and a permutation test within classes, {correction} correction "
        "over the model's heads. What it writes on average (direct); shares of it that it reads from context and class "
        "tokens, where there are masks; the word that names the head. The same of the random twin.",
        figure=Figure(
            content="figure: heads that carry a shortcut",
            caption="{model}: a dot per head. Vertical axis: share of the variance within classes of what the head "
            "writes into the predicted class's logit that goes with the attribute {attribute} (eta squared), with "
            "bootstrap intervals over images. Filled dots: beyond images exchanged at random within classes, "
            "{correction} correction over heads. Grey: the random twin. Named are the heads with the largest shares "
            "(block.head), with the word that names them, if one does.",
        ),
    ),
    Analysis(
        "repair",
        section="Shortcuts",
        inputs={"answers": ANSWERS, "output": files.OUTPUT, "groups": files.GROUPS},
        settings=("spurious", "resampling"),
        needs=(GROUPS, SHORTCUT, FOLDED, RANKS),
        one_model=True,
        caption="{model}: accuracy, and accuracy of the worst group of images, with heads replaced by their mean over "
        "images and tokens: those that raise the worst group's accuracy most on one half of the images, one after the "
        "other, and as many at random. change: of the worst group's accuracy from the model's, with bootstrap "
        "intervals over images within groups, the worst group found anew. Where the reporting half's interval does not "
        "lie above 0, nothing was found, and the repaired weights are the model's own.",
        figure=Figure(
            content="figure: repair",
            caption="{model}: accuracy over all images (square) and of the worst group (dot), as the model is, without "
            "the chosen heads, and without as many heads at random, on the half of the images that heads were chosen "
            "by and on the other half. Right: change of the worst group's accuracy with its bootstrap interval.",
        ),
    ),
)
