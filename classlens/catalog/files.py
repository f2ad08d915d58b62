"""Which files a job reads: functions of the config and the job's wildcards."""

from __future__ import annotations

from collections.abc import Callable

from classlens.catalog import applicable
from classlens.catalog.job import ATTRIBUTION as ATTRIBUTION_NEED
from classlens.catalog.job import MASKS, Wildcards
from classlens.catalog.kinds import TOKEN_KINDS
from classlens.config.config import REPAIRED_SUFFIX, Config
from classlens.models.saved import local_folder, saved_weights
from classlens.sources.place import files_of, files_of_tower, is_source
from classlens.terms import block_name

ManyFiles = Callable[[Config, Wildcards], list[str]]

WEIGHTS = "results/{model}/weights.safetensors"
REPAIRED, REPAIRED_WEIGHTS = (
    "results/{model}/repaired.safetensors",
    f"results/{{model}}{REPAIRED_SUFFIX}/weights.safetensors",
)
CERTIFICATE = "results/{model}/certificate.json"
HISTORY = "results/{model}/training.csv"
OUTPUT = "results/{model}/output.h5"
TOKEN_LABELS = "results/{model}/token_labels.h5"
MEASURED_IDENTIFIABILITY = "results/{model}/measures/identifiability.h5"
MEMORY_PARAMETERS = "results/{model}/memories/parameters.h5"
ATTRIBUTION = "results/{model}/attribution/logit.h5"
HEAD_EFFECTS = "results/{model}/causes/heads.h5"
VOCABULARY = "results/{model}/words/vocabulary.h5"
HEAD_SPANS, HEAD_WORDS = "results/{model}/words/heads.h5", "results/{model}/words/heads.csv"
TOKEN_EFFECTS = "results/{model}/causes/tokens.h5"
EXTRACTED = "results/{model}/shards/{shard}.h5"
SUMS = "results/{model}/shards/sums/{of}/{shard}.h5"
SUMMED = "results/{model}/shards/summed/{of}.h5"
LENS_SUMS = "results/{model}/shards/sums/tuned_lens/{shard}.h5"
HEAD_SUMS = "results/{model}/shards/sums/head_words/{shard}.h5"
LENS_MAPS = "results/{model}/shards/tuned_lens/maps.h5"
LENS_SEEN = "results/{model}/shards/tuned_lens/{shard}.h5"
EXPLANATION, RANDOMISED = (f"results/{{model}}/{folder}/{{method}}.h5" for folder in ("explanation", "randomisation"))
REMOVED, REMOVED_PIXELS = (f"results/{{model}}/faithfulness/{{method}}{ending}" for ending in ("", "_pixels"))
"""Without suffix: curves are tables, what they are means of is an HDF5 file."""
TOKEN_PERTURBATIONS = [f"results/{{model}}/perturbation/tokens_{kind}.h5" for kind in TOKEN_KINDS]


def block_files(folder: str, depth: int) -> list[str]:
    """Return the files of a folder that has one for every block."""
    return [f"{folder}/{block_name(block)}.h5" for block in range(depth)]


def of_blocks(folder: str) -> ManyFiles:
    """Return what names a model's files of all blocks in a folder of its results."""
    return lambda config, wildcards: block_files(
        f"results/{wildcards['model']}/{folder}", config.architecture(wildcards["model"])["depth"]
    )


LAYERS = of_blocks("layers")
ATTN_MEMORIES, MLP_MEMORIES = of_blocks("memories/attn"), of_blocks("memories/mlp")
RESIDUAL_PROBES = of_blocks("probes/residual")
TUNED_LENS = of_blocks("tuned_lens")


def last_layer(config: Config, wildcards: Wildcards) -> str:
    """Return the layer file of a model's last block."""
    return LAYERS(config, wildcards)[-1]


def of_twin(pattern: str) -> ManyFiles:
    """Return what names a file of a model's random twin, nothing where there is no twin."""

    def name(config: Config, wildcards: Wildcards) -> list[str]:
        twin = config.twin(wildcards["model"])
        return [pattern.format(model=twin)] if twin else []

    return name


def of_points(pattern: str) -> ManyFiles:
    """Return what names a file of each point of a model's series, in the order of training."""
    return lambda config, wildcards: [pattern.format(model=point) for point in config.points(wildcards["model"])]


def of_pair(pattern: str, need: str = "") -> ManyFiles:
    """Return what names a file of both models of a difference, nothing where one has not what the file needs."""

    def name(config: Config, wildcards: Wildcards) -> list[str]:
        pair = config.pairs()[wildcards["pair"]]
        return [pattern.format(model=model) for model in pair if not need or applicable.has(config, model, need)]

    return name


def where_has(need: str, path: str) -> ManyFiles:
    """Return what names a file of a model, nothing where the model has not what the file needs."""
    return lambda config, wildcards: (
        [path.format(**wildcards)] if applicable.has(config, wildcards["model"], need) else []
    )


token_labels = where_has(MASKS, TOKEN_LABELS)
segmentation_scores = where_has(MASKS, "results/{model}/measures/segmentation_scores.csv")
attribution = where_has(ATTRIBUTION_NEED, ATTRIBUTION)


def of_dataset(name: str) -> Callable[[Config, Wildcards], str]:
    """Return what names a table of a model's data set."""
    return lambda config, wildcards: f"results/datasets/{config.models[wildcards['model']]['dataset']}/{name}"


def pixels(split: str) -> Callable[[Config, Wildcards], str]:
    """Return what names a model's stored images of a split, or the masks of its evaluation images."""

    def name(config: Config, wildcards: Wildcards) -> str:
        model = wildcards["model"]
        return f"results/datasets/{config.models[model]['dataset']}/{config.geometry(model).name}/{split}.h5"

    return name


STIMULI, MASK_LIST, GROUPS = (of_dataset(name) for name in ("stimuli.csv", "masks.csv", "groups.csv"))
EVALUATION, TRAINING, PIXEL_MASKS = pixels("evaluation"), pixels("training"), pixels("masks")


def shard_of(path: str) -> str:
    """Return where the shards of a model's file lie, a path with the wildcard `shard`."""
    return path.replace("{model}/", "{model}/shards/").removesuffix(".h5") + "/{shard}.h5"


def all_shards(path: str, split: str = "evaluation") -> ManyFiles:
    """Return what names the shards of a model, whose paths have the wildcard `shard`, in the order of their images."""
    return lambda config, wildcards: [
        path.format(**wildcards, shard=shard) for shard in range(config.shards(wildcards["model"], split))
    ]


def several_shards(path: str, split: str = "evaluation") -> ManyFiles:
    """Return what names the same, nothing where one job takes all images."""
    named = all_shards(path, split)
    return lambda config, wildcards: shards if len(shards := named(config, wildcards)) > 1 else []


def parts(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the parts of a packed data set's pixels."""
    folder = f"results/datasets/{wildcards['dataset']}/{wildcards['geometry']}/parts"
    count = config.parts(wildcards["dataset"], wildcards["split"])
    return [f"{folder}/{wildcards['split']}_{part}.h5" for part in range(count)]


def of_methods(
    path: str, names: Callable[[Config, str], list[str]] = applicable.methods, wildcard: str = "method"
) -> ManyFiles:
    """Return what names a file for each explanation that is compared for a model, or for each of other `names`."""
    return lambda config, wildcards: [
        path.format(**{"model": wildcards["model"], wildcard: name}) for name in names(config, wildcards["model"])
    ]


def groups_table(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the user's table of attributes of a data set, nothing where the data set itself says them."""
    groups = config.datasets[wildcards["dataset"]]["groups"]
    return [groups["table"]] if groups and groups["table"] else []


def groups_raw(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the raw files that say the attributes of a data set's images, beside their names."""
    packed = config.packed(wildcards["dataset"])
    return groups_table(config, wildcards) or (config.raw_images(wildcards["dataset"]) if packed else [])


def tower(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the files of a model's SOURCE on this machine, and those of its text tower."""
    entry = config.models[wildcards["model"]]
    of_tower = files_of_tower(entry["texts"]["tower"] if entry["texts"] else entry["architecture"])
    return list(dict.fromkeys([*files_of(entry["architecture"]), *of_tower]))


def listed_words(config: Config, _wildcards: Wildcards) -> str:
    """Return the file that lists the words of a vocabulary."""
    path: str = config.words["vocabulary"]
    return path


def vocabulary(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the directions of `words.vocabulary`, nothing where a model's classes are the words."""
    return [VOCABULARY.format(**wildcards)] if config.words["vocabulary"] else []


def head_words(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the words of a model's heads, nothing where the config asks for none."""
    asked = config.models[wildcards["model"]]["analyses"]
    return [HEAD_WORDS.format(**wildcards)] if asked is None or "head_words" in asked else []


def importance(_config: Config, wildcards: Wildcards) -> list[str]:
    """Return the explanation that orders tokens, nothing for random orders."""
    return [] if wildcards["method"] == "random" else [EXPLANATION.format(**wildcards)]


def probes(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the files of a model's linear probes."""
    blocks = applicable.probed_blocks(config, config.architecture(wildcards["model"])["depth"])
    return [
        f"results/{wildcards['model']}/probes/{site}/{block_name(block)}.h5"
        for site in config.probes["sites"]
        for block in blocks
    ]


def checkpoint(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the user's checkpoint of a model, nothing where timm, a hub or a seed gives the weights."""
    entry = config.models[wildcards["model"]]
    if is_brought(config, wildcards["model"]):
        tower = files_of_tower(entry["texts"]["tower"]) if entry["texts"] else []
        return list(dict.fromkeys([*files_of(entry["architecture"]), *tower]))
    if entry["weights"] == "pretrained" and local_folder(entry["architecture"]):
        return [str(saved_weights(entry["architecture"]))]
    return [] if entry["weights"] in ("pretrained", "random") else [entry["weights"]]


def is_brought(config: Config, model: str) -> bool:
    """Tell whether a model's weights come from a SOURCE, see docs/models.md."""
    entry = config.models[model]
    return is_source(entry["architecture"]) and entry["weights"] == "pretrained"


def certificate(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the certificate of a model of another library, nothing of others."""
    return [CERTIFICATE.format(**wildcards)] if is_brought(config, wildcards["model"]) else []


def head(config: Config, wildcards: Wildcards) -> list[str]:
    """Return the user's own head of a model; fresh weights bring a fresh one."""
    entry = config.models[wildcards["model"]]
    return [entry["head"]] if entry["head"] and entry["weights"] != "random" else []
