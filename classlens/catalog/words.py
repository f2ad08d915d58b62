"""Heads in words: which classes, or words of a vocabulary, explain what heads write into the logits."""

from classlens.catalog import files
from classlens.catalog.job import ATTRIBUTION, EXECUTION, RANKS, Analysis, Figure, Gpu, Job

PASSES = ()
JOBS = (
    # Of models whose images do not fit into one shard; others have their sums from the job that finds the spans.
    Job(
        "head_spans_sums",
        "classlens.passes.sums:write_sums",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS},
        outputs={"shard": files.HEAD_SUMS},
        settings=("network", "shard"),
        local=EXECUTION,
        functions={"of": "classlens.passes.head_words:OutputSums"},
        needs=(ATTRIBUTION, RANKS),
        gpu=Gpu(60),
        temporary=True,
    ),
    Job(
        "head_spans",
        "classlens.passes.head_words:write_spans",
        inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS, "shards": files.several_shards(files.HEAD_SUMS)},
        outputs={"spans": files.HEAD_SPANS},
        settings=("network",),
        local=EXECUTION,
        needs=(ATTRIBUTION, RANKS),
        gpu=Gpu(60),
        trial="classlens.check.trials:head_spans",
    ),
    Job(
        "embed_vocabulary",
        "classlens.sources.vocabulary:write_vocabulary",
        inputs={"files": files.tower, "words": files.listed_words},
        outputs={"vocabulary": files.VOCABULARY},
        settings=("vocabulary",),
        local=("source_place",),
        needs=(ATTRIBUTION, RANKS),
        environment="sources",
        # As for weights: what is wrong with a text tower is told at once.
        priority=1,
    ),
    Job(
        "name_heads",
        "classlens.measures.head_words:name_heads",
        inputs={
            "spans": files.HEAD_SPANS,
            "stimuli": files.STIMULI,
            "head": files.head,
            "vocabulary": files.vocabulary,
        },
        outputs={"words": files.HEAD_WORDS},
        settings=("words.per_head", "words.draws", "seed", "statistics.correction", "statistics.confidence", "texts"),
        needs=(ATTRIBUTION, RANKS),
        group="finish_{model}",
    ),
)
ANALYSES = (
    Analysis(
        "head_words",
        section="Class building",
        inputs={"words": files.HEAD_WORDS, "twin": files.of_twin(files.HEAD_WORDS)},
        settings=(),
        needs=(ATTRIBUTION, RANKS),
        one_model=True,
        caption="{model}: the words (its classes, or those of `words.vocabulary`) whose directions explain most of the "
        "variance over images of what each head writes into the output, one after the other, each with the share that "
        "it explains beside those before it. The first one names the head where its share is beyond the first share of "
        "as many random directions: null is their 95th percentile, and p-values are corrected over the model's heads "
        "({correction}). The same of the random twin.",
        figure=Figure(
            content="figure: heads in words",
            caption="{model}: a cell per head, with the word (a class, or one of `words.vocabulary`) whose direction "
            "explains most of the variance over images of what the head writes into the output, norms frozen, and the "
            "share that it explains. Grey heads are not named: their share is not beyond that of as many random "
            "directions ({correction} correction over the model's heads). Below: the shares of a head's words, one by "
            "one, and the 95th percentile of the first share of random directions; named heads first, then those with "
            "the largest shares.",
        ),
    ),
)
