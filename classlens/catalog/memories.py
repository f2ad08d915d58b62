"""Key-value memories."""

from typing import Any

from classlens.catalog import files
from classlens.catalog.job import CLASS_TOKEN, RANKS, Analysis, Figure, Job
from classlens.models.facts import CLASS_EMBEDDING
from classlens.terms import BRANCHES

MEMORIES: dict[str, Any] = {"section": "Memories", "group": "memories", "needs": (CLASS_EMBEDDING, RANKS)}
FROM_TOKENS: dict[str, Any] = {**MEMORIES, "cluster_group": "memories_{model}"}
OF_BRANCHES = {"attn": files.ATTN_MEMORIES, "mlp": files.MLP_MEMORIES}

PASSES = ()
JOBS = (
    Job(
        "memory_parameters",
        "classlens.measures.memory_parameters:write_parameters",
        inputs={"weights": files.WEIGHTS},
        outputs={"parameters": files.MEMORY_PARAMETERS},
        needs=(CLASS_EMBEDDING, RANKS),
    ),
    Job(
        "block_memories",
        "classlens.measures.block_memories:block_memories",
        inputs={
            "layer": "results/{model}/layers/block_{block}.h5",
            "output": files.OUTPUT,
            "parameters": files.MEMORY_PARAMETERS,
        },
        outputs={branch: f"results/{{model}}/memories/{branch}/block_{{block}}.h5" for branch in BRANCHES},
        settings=("seed",),
        needs=(CLASS_EMBEDDING, RANKS),
        group="memories_{model}",
    ),
)
ANALYSES = (
    Analysis(
        "class_value_agreement",
        inputs={"parameters": files.MEMORY_PARAMETERS, "twin": files.of_twin(files.MEMORY_PARAMETERS)},
        tested=True,
        of_images=False,
        caption="Class-value agreement per branch and block: mean over classes with its bootstrap interval, five-"
        "number summary over classes, chance level, paired difference to the random twin with its interval, "
        "one-sided Wilcoxon p-value, and that p-value corrected over the table.",
        figure=Figure(
            content="figure: class-value",
            caption="Class-value agreement: for each class, the largest cosine between its row of the head and a "
            "memory (a column of a branch's last linear layer). Boxes show quartiles over classes. The dashed "
            "line is the expected largest cosine of as many random directions, the grey line the mean of the "
            "random twin. A star marks blocks above the random twin: one-sided Wilcoxon signed-rank test over "
            "classes, {correction} correction over the figure.",
        ),
        **MEMORIES,
    ),
    Analysis(
        "value_vectors",
        inputs={"parameters": files.MEMORY_PARAMETERS, "stimuli": files.STIMULI, "head": files.head},
        settings=("memories.value_vectors",),
        of_images=False,
        caption="The five classes that chosen memories promote most, with the product of memory and head row.",
        **MEMORIES,
    ),
    Analysis(
        "key_value_agreement",
        inputs={**OF_BRANCHES, "output": files.OUTPUT},
        tables={"table": "key_value_agreement", "classes": "key_value_agreement_classes"},
        caption="Key-value agreement per branch and block (every class in one table, means over classes in the "
        "other), the control with a random class, and their difference in percentage points, each with its "
        "bootstrap interval over classes; and chance.",
        figure=Figure(
            content="figure: key-value",
            inputs={"classes": "results/tables/key_value_agreement_classes.csv"},
            caption="Key-value agreement: % of a class's images and tokens of which one of the five strongest keys "
            "belongs to one of the five memories that promote the class most. A dot per class, the mean over classes "
            "in black, the same against a random class in grey, and what random keys would reach (dashed).",
        ),
        **FROM_TOKENS,
    ),
    Analysis(
        "memory_comparison",
        inputs={"parameters": files.MEMORY_PARAMETERS, **OF_BRANCHES, "output": files.OUTPUT},
        caption="Class-value and key-value agreement at each of 12 positions of the normalised depth axis, with "
        "bootstrap intervals over classes, and chance. Block b of B lies at position 12 b / B, rounded up.",
        figure=Figure(
            content="figure: normalised depth",
            caption="Class-value and key-value agreement over depth normalised to 12 positions, for attention and "
            "MLP. Bands are bootstrap intervals over classes; each model's chance level is dashed in its "
            "colour. Block b of B lies at position 12 b / B, rounded up: a model of fewer than 12 blocks leaves "
            "positions empty (six lie at 2, 4, ..., 12).",
            opening=True,
        ),
        **FROM_TOKENS,
    ),
    Analysis(
        "memory_composition",
        inputs=OF_BRANCHES,
        caption="% of tokens whose branch's strongest class is that of a memory it calls up, with bootstrap intervals "
        "over images.",
        figure=Figure(
            content="figure: composition",
            caption="% of tokens at which the branch's own strongest class is the strongest class of one of the five "
            "memories that the token calls up. Bands are bootstrap intervals over images.",
        ),
        **FROM_TOKENS,
    ),
    Analysis(
        "agreement_vs_accuracy",
        section="Memories",
        inputs={**OF_BRANCHES, "output": files.OUTPUT},
        needs=(CLASS_TOKEN, CLASS_EMBEDDING, RANKS),
        tested=True,
        cluster_group="memories_{model}",
        caption="Key-value agreement of [CLS] in correctly and wrongly classified images, and their difference with "
        "its bootstrap interval, permutation p-value, and that p-value corrected over the table.",
        figure=Figure(
            content="figure: and accuracy",
            caption="Key-value agreement of [CLS] in correctly minus wrongly classified images, in percentage points, "
            "with bootstrap intervals over images. A star marks blocks that differ from zero: permutation "
            "test over images, {correction} correction over the figure. Models without [CLS] are left out.",
        ),
    ),
)
