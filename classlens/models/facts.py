"""What explanations and attributions may need of a model, in words, and names in configs. Imports no torch, as planning
asks.

`classlens.models.needs` asks a model; `classlens.catalog.methods` says which explanation needs what.
"""

CLASS_TOKEN, CLASS_TOKEN_POOLING, PROBES = "a [CLS] token", "a head that reads [CLS]", "linear probes"
UNGATED, RELEVANCE = "attention without a gate", "a rule of relevance for every layer"
SUM_OVER_TOKENS = "an output that is a sum over tokens"
SEVERAL_CLASSES, CLASS_EMBEDDING = "several classes", "a class embedding"
CONSTANTS = "a place for constants in its weights"
CLS_MEAN = "cls_mean"
"""The value of `global_pool` of models whose head reads [CLS ; mean], see `classlens.models.pooling`."""
SCORE = "score"
"""The value of `one_output` of models whose one output is no class's."""
SOURCE, TORCHVISION = "source:", "torchvision:"
"""In front of an architecture that stands for a SOURCE, and of a SOURCE that is torchvision's."""
REASONS = {
    CLASS_TOKEN: "it reads the [CLS] token, which this model does not have",
    CLASS_TOKEN_POOLING: "it reads what the [CLS] token attends to, which this model's output does not depend on at "
    "the last block, because it averages the image tokens",
    SEVERAL_CLASSES: "it reads the cross-entropy of classes, and a score has none",
    PROBES: "it comes from linear probes, which the workflow fits to training images",
    UNGATED: "its attention is gated, so that the heads' outputs alone do not determine what the branch adds",
}
"""Why an explanation does not apply, by what is missing; `needs.lacks` says more of others."""
