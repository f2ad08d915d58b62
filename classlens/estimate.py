"""How long a run takes on this machine, by stage, from short trials on made-up images and fresh weights."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from classlens.attribution.decompose import LogitAttribution
from classlens.batching import batches
from classlens.catalog.job import MASKS
from classlens.causes.ablation import Ablation
from classlens.causes.sets import set_names
from classlens.config import Config
from classlens.data.stimulus import Stimulus
from classlens.declared import load
from classlens.digest import digest_json
from classlens.explanations.methods import METHODS
from classlens.explanations.randomisation import cascade
from classlens.extraction.recorder import Recorder
from classlens.faithfulness.pixels import PixelRemoval
from classlens.faithfulness.removal import TokenRemoval
from classlens.faithfulness.steps import removal_counts
from classlens.inference.activations import residuals
from classlens.inference.modes import frozen_eval_mode
from classlens.inference.network import LoadedModel
from classlens.inference.projection import Projection
from classlens.models.architecture import built_as
from classlens.models.build import build
from classlens.models.device import choose_device
from classlens.models.inputs import Normalise
from classlens.models.one_output import as_two_classes
from classlens.perturbation.attention import AttentionPerturbation
from classlens.perturbation.kinds import TOKEN_KINDS
from classlens.probes.features import Features
from classlens.probes.fit import GIBIBYTE
from classlens.probes.plan import Part, bytes_per_token, plan
from classlens.probes.ridge import RidgeSums
from classlens.progress import Progress
from classlens.tuned_lens.held_out import HELD_OUT
from classlens.tuned_lens.ridge import AffineSums
from classlens.tuned_lens.steps import Descent

TRIAL_IMAGES = 32
REPEATS = 3
ENOUGH = 1.0
"""Seconds that a trial should take at most; after that time two repeats do."""
DECODERS = min(8, os.cpu_count() or 1)
"""Threads of a job that decodes images."""
UNKNOWN = (
    "downloads of pretrained weights, each job's start (seconds), memories, measures with their tables and figures, "
    "and waiting for a busy device"
)


@dataclass(frozen=True)
class Span:
    """Seconds, from the fastest repeat to the slowest."""

    low: float = 0
    high: float = 0

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, factor: float) -> Span:
        return Span(self.low * factor, self.high * factor)

    def __str__(self) -> str:
        if self.high < 1:
            return "less than a second"
        low, high = _duration(self.low), _duration(self.high)
        return f"about {low}" if low == high else f"about {low} to {high}"


def time_notes(config: Config, chosen: dict[str, list[Stimulus]]) -> tuple[list[str], list[str]]:
    """Return a line per stage of a run, and one on what is not counted; and a line per trial that failed.

    Args:
        config: with architectures.
        chosen: images by data set.

    Raises:
        InputError: the device is not there.
    """
    spans: dict[str, Span] = {}
    rates: dict[str, dict[str, Span]] = {}
    failures = []
    with Progress(len(config.models), "trying models", "model") as progress:
        for dataset, stimuli in chosen.items():
            spans["data"] = spans.get("data", Span()) + _decoding(config, dataset, stimuli)
        for model in config.models:
            key = digest_json(built_as(config, model))
            known = rates.setdefault(key, {})  # a random twin is as fast as its model
            for stage, factor, run in _stages(config, model, chosen[config.models[model]["dataset"]]):
                try:
                    known[stage] = known.get(stage) or per_image(run)
                    spans[stage] = spans.get(stage, Span()) + known[stage] * factor
                except (RuntimeError, MemoryError) as error:
                    said = str(error).partition("\n")[0]
                    failures.append(f"models.{model}: a trial of its {stage} failed, as a run's may: {said}")
            progress.advance()
    names = dict.fromkeys(stage.partition(",")[0] for stage in spans)
    by_name = {
        name: sum((span for stage, span in spans.items() if stage.partition(",")[0] == name), Span()) for name in names
    }
    total = sum(by_name.values(), Span())
    return [
        *(f"{name}: {span}" for name, span in by_name.items()),
        f"together: {total} on this machine, one job at a time; not counted are {UNKNOWN}"
        + (", and what the trials failed at" if failures else ""),
    ], failures


def per_image(run: Callable[[int], object]) -> Span:
    """Return the seconds per image of a function of the number of images."""
    run(1)  # the first call is slower than later ones
    found = [_seconds(run, 1)]
    count = max(1, min(TRIAL_IMAGES, int(ENOUGH / found[0])))
    if count > 1:
        found = []
    while len(found) < 2 or (len(found) < REPEATS and sum(found) < ENOUGH):
        found.append(_seconds(run, count))
    return Span(min(found) / count, max(found) / count)


def _seconds(run: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    run(count)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _decoding(config: Config, dataset: str, stimuli: Sequence[Stimulus]) -> Span:
    """Return what images and masks of a data set take, once per geometry."""
    source, total = config.source(dataset), Span()
    some = [stimuli[index * len(stimuli) // TRIAL_IMAGES] for index in range(TRIAL_IMAGES)]
    masked = sum(item.split == "evaluation" for item in stimuli) if source.has_masks else 0
    models = [model for model in config.models if config.models[model]["dataset"] == dataset]
    for geometry in {config.geometry(model) for model in models}:
        rate = per_image(lambda count, geometry=geometry: [geometry.image(source.image(i.file)) for i in some[:count]])  # type: ignore[misc]
        # A mask's job decodes its image, too.
        total += rate * ((len(stimuli) + 2 * masked) / DECODERS)
    return total


def _stages(
    config: Config, model: str, stimuli: Sequence[Stimulus]
) -> Iterator[tuple[str, float, Callable[[int], object]]]:
    """Yield the stages of a model: name (parts of one stage behind a comma), how many images it takes, and a trial."""
    entry, facts, transform = config.models[model], config.architecture(model), config.transform(model)
    device, extraction = choose_device(config.extraction["device"]), config.extraction
    architecture, options = built_as(config, model)
    network: Any = as_two_classes(build(architecture, options)).to(device)
    normalise = Normalise(transform["mean"], transform["std"], device)
    loaded = LoadedModel(network, architecture, normalise, extraction["precision"], device)
    size, patches, prefix = (
        facts["image_size"],
        facts["tokens"] - facts["num_prefix_tokens"],
        facts["num_prefix_tokens"],
    )
    pixels = np.random.default_rng(0).integers(0, 256, (TRIAL_IMAGES, size, size, 3), np.uint8)
    classes = torch.zeros(TRIAL_IMAGES, dtype=torch.int64, device=device)
    images = normalise(pixels)
    evaluation = sum(item.split == "evaluation" for item in stimuli)
    training = len(stimuli) - evaluation

    if config.trained(model):
        recipe = entry["weights"]["train"]
        learner: Any = as_two_classes(build(architecture, options)).to(device)
        optimiser = torch.optim.AdamW(learner.parameters(), lr=1e-6)

        def train(count: int) -> None:
            torch.set_num_threads(recipe["threads"])
            optimiser.zero_grad()
            cross_entropy(learner.train()(images[:count]), classes[:count]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()

        # Each epoch also looks at the evaluation images; forward is about a third of a step.
        yield "training", recipe["epochs"] * (training + evaluation / 3), train

    torch.set_num_threads(min(extraction["threads"], os.cpu_count() or 1))
    recorder = Recorder(network, normalise, extraction["precision"])
    yield "extraction", evaluation, lambda count: recorder(pixels[:count], classes[:count].cpu().numpy()).arrays()

    kinds = len(config.attention_kinds(model)) if model in config.runs("attention_perturbation") else 0
    kinds += len(TOKEN_KINDS) if model in config.runs("token_perturbation") else 0
    if kinds:
        perturbed = AttentionPerturbation(network, "self_only")
        yield "perturbations", evaluation * kinds, lambda count: perturbed(images[:count], classes[:count])

    caused = {group: _with_twins(config, group) for group in ("head_causes", "token_causes")}
    if model in {*config.runs("logit_attribution"), *caused["head_causes"]}:

        def attribute(count: int) -> None:
            with frozen_eval_mode(network), loaded.autocast():
                attribution = LogitAttribution(network)
                for part in batches(count, attribution.images_that_fit):
                    attribution(images[part], classes[part])

        yield "logit attribution", evaluation, attribute

    ablation, depth = Ablation(network), facts["depth"]
    if model in caused["head_causes"]:
        mean_heads = torch.zeros(
            depth, facts["heads"], facts["tokens"], facts["width"] // facts["heads"], device=device
        )

        def ablate(count: int) -> None:
            with loaded.autocast():
                ablation.heads(images[:count], classes[:count], mean_heads)

        yield "causes, heads", evaluation, ablate
    if model in caused["token_causes"]:
        mean_tokens = torch.zeros(depth, facts["tokens"], facts["width"], device=device)
        names = set_names(has_labels=config.has(model, MASKS))
        sets = torch.ones(TRIAL_IMAGES, depth, len(names), patches, dtype=torch.bool, device=device)

        def replace(count: int) -> None:
            with loaded.autocast():
                ablation.image_tokens(images[:count], classes[:count], mean_tokens, sets[:count])

        yield "causes, tokens", evaluation, replace

    removed = model in config.runs("faithfulness")
    rated = model in config.runs("explanation_quality")
    again = config.randomised_methods(model) if rated else []
    reset = min(config.explanations["randomised_images"], evaluation) * (len(cascade(facts["depth"])) + 1)
    methods = config.explained_methods(model)
    for method in methods:
        if METHODS[method].compute:

            def explain(count: int, method: str = method) -> None:
                with frozen_eval_mode(network), loaded.autocast():
                    explainer = load(METHODS[method].compute)(network)
                    for start in range(0, count, explainer.images_that_fit):
                        part = slice(start, min(count, start + explainer.images_that_fit))
                        explainer(images[part], classes[part])

            yield f"explanations, {method}", evaluation + (reset if method in again else 0), explain
    orders = sum(config.faithfulness["random_seeds"] if method == "random" else 1 for method in methods)
    if rated:
        painted = PixelRemoval(network, normalise(np.zeros((1, 1, 1, 3), np.uint8)))
        flat = torch.zeros(TRIAL_IMAGES, patches, device=device)
        yield (
            "removal curves, pixels",
            evaluation * orders,
            lambda count: painted(images[:count], classes[:count], flat[:count]),
        )
    if removed:
        kept = config.removal_counts(model) or removal_counts(patches)
        middle = max(1, patches // 2)
        steps = sum(count + prefix for count in kept) / (middle + prefix)
        removal, order = TokenRemoval(network), torch.arange(patches, device=device).expand(1, TRIAL_IMAGES, patches)
        yield (
            "removal curves",
            evaluation * orders * steps,
            lambda count: removal(images[:count], classes[:count], order[:, :count], [middle]),
        )

    if model in config.runs("linear_probes"):
        features = Features(loaded)
        tokens = config.probes["tokens"] or range(facts["tokens"])
        blocks, sites = config.probed_blocks(facts["depth"]), config.probed_sites()
        seen = len({item.class_index for item in stimuli if item.split == "training"})
        room = bytes_per_token(facts["width"], seen, extraction["batch_size"])
        limit = int(config.probes["memory_gib"] * GIBIBYTE)
        # Of a block's groups alike, each of which stops behind the block.
        groups = len(plan([(site, 0) for site in sites], list(tokens), room, limit))
        passes = groups * sum(block + 1 for block in blocks) / facts["depth"]
        part = [Part("residual", facts["depth"] - 1, (0,))]
        yield "linear probes, passes", passes * (training + evaluation), lambda count: features(pixels[:count], part)
        [found] = features(pixels, part)
        sums = RidgeSums(1, facts["width"], seen, features.device)
        labels, ridges = classes.to(features.device), len(blocks) * len(sites) * len(tokens)
        yield "linear probes, sums", ridges * training, lambda count: sums.add(found[:, :count], labels[:count])

        def solve(count: int) -> None:
            for _ in range(count):
                ridge = RidgeSums(1, facts["width"], seen, features.device)
                ridge.add(found, labels)
                ridge.solve(1.0)

        yield "linear probes, solving", ridges, solve

    fitted = config.runs("tuned_lens")
    if facts["depth"] > 1 and (model in fitted or model in map(config.twin, fitted)):
        yield from _tuned_lens(config, loaded, images, training, evaluation)


def _tuned_lens(
    config: Config, loaded: LoadedModel, images: torch.Tensor, training: int, evaluation: int
) -> Iterator[tuple[str, float, Callable[[int], object]]]:
    """Yield the parts of fitting a tuned lens and of looking through it, as `_stages` does."""
    recipe, network, project = config.tuned_lens, loaded.model, Projection(loaded.model)
    device = torch.device("cpu") if loaded.device.type == "mps" else loaded.device
    sums = AffineSums(len(network.blocks) - 1, network.embed_dim, device)

    def look(count: int) -> list[torch.Tensor]:
        with torch.no_grad(), loaded.autocast():
            return residuals(network, images[:count])

    def see(count: int) -> None:
        with torch.no_grad():
            for tokens in look(count):
                project(tokens).log_softmax(-1)

    yield "tuned lens, sums", training, lambda count: sums.add([one.to(device) for one in look(count)])
    with frozen_eval_mode(network):
        sums.add([one.to(device) for one in look(TRIAL_IMAGES)])
        descent = Descent(loaded, *sums.solve(recipe["penalty"]), recipe["learning_rate"])
        yield (
            "tuned lens, steps",
            recipe["steps"] * recipe["images_per_step"],
            lambda count: descent.gradients(images[:count], count),
        )
    # Both lenses at every block; on held-out training images three maps.
    yield "tuned lens, evaluation", 2 * evaluation + 3 * training / HELD_OUT, see


def _with_twins(config: Config, group: str) -> set[str]:
    """Return the models of a group of analyses, and the random twins that they are compared with."""
    models = config.runs(group)
    return {*models, *filter(None, map(config.twin, models))}


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} seconds"
