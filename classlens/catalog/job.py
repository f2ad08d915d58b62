"""Declarations of jobs, from which rules, targets, estimates, report and keys follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from classlens.config.config import Config

Wildcards = Mapping[str, str]
Files = str | Callable[[Config, Wildcards], str | list[str]]
"""A path with wildcards, or a function that returns the path or paths of a job."""

MASKS, CLASS_TOKEN, TRAINING_IMAGES = "masks", "[CLS]", "training images"
RANKS, SERIES = "classes to rank", "checkpoints"
GROUPS, SHORTCUT = "groups of images", "an attribute that says nothing of the class"
FOLDED = "weights that constants fold into"
HEATMAP_METHOD, ATTRIBUTION = "what the explanation of heat maps needs", "what direct logit attribution needs"
"""What a model or its data set must have for some jobs."""
EXECUTION = ("extraction.device", "extraction.batch_size", "threads")
"""How a model is run; results agree up to rounding."""


@dataclass(frozen=True)
class Gpu:
    """What a job on a GPU asks of a scheduler at its first attempt."""

    minutes: int
    mem_mb: int = 16000


@dataclass(frozen=True)
class Reported:
    """How the report shows the results of a job.

    Attributes:
        section: of the report.
        content: what its menu calls them, by the names of outputs.
        caption: see `classlens.catalog.plan.report_caption` for what is filled in and added.
        opening: the report opens with them.
    """

    section: str
    content: Mapping[str, str]
    caption: str
    opening: bool = False


@dataclass(frozen=True)
class Job:
    """One kind of job: `function(**inputs, **outputs, **settings, **local, **functions)`; a rule of its own.

    Attributes:
        name: of the job, in records and logs.
        function: "module:function".
        inputs: its files, by keyword.
        outputs: the files that it writes, by keyword; their wildcards are the job's.
        of_blocks: further outputs, a file per block, in folders by keyword; each depth has a rule of its own.
        of_sites: further outputs, a file per probed site ("{site}"), by keyword.
        settings: the part of the config that shapes the result, part of the key: keys of the config
            ("statistics.correction" gives `correction`) or names of functions in `classlens.catalog.settings`.
        local: the same, of what does not shape the result (device, where raw data lies); no part of the key. The value
            of `threads` is what the scheduler gives.
        functions: further functions and classes ("module:name") by keyword; part of the key.
        plugins: names of functions in `settings` that return such functions, where they depend on the config.
        needs: what the model must have.
        rule: the rule's name in the workflow; by default the job's.
        models: those that the rule is for; None: all.
        wildcards: the values that further wildcards have.
        environment: in envs/; by default that with torch where it asks for a GPU, else that of analyses.
        gpu: what it asks for, where it runs a model.
        minutes: what it asks for, where it runs none and may take long.
        group: jobs that share a submitted job on a cluster, see docs/cluster.md.
        temporary: its outputs are deleted once they have been used.
        priority: of jobs that are ready, the one with the largest starts first.
        reported: how the report shows it.
        analysis: whose table or figure it makes.
        trial: "module:function" of what takes time in it, where that is no pass; see `classlens.check.duration`.
    """

    name: str
    function: str
    inputs: Mapping[str, Files] = field(default_factory=dict)
    outputs: Mapping[str, str | list[str]] = field(default_factory=dict)
    of_blocks: Mapping[str, str] = field(default_factory=dict)
    of_sites: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    functions: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    rule: str = ""
    models: tuple[str, ...] | None = None
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    environment: str = ""
    gpu: Gpu | None = None
    minutes: int = 0
    group: str = ""
    temporary: bool = False
    priority: int = 0
    reported: Reported | None = None
    analysis: str = ""
    trial: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", self.rule or self.name)
        object.__setattr__(self, "environment", self.environment or ("torch" if self.gpu else "analysis"))

    @cached_property  # thousands of jobs share it
    def declared(self) -> dict[str, Any]:
        """What its key follows from; `classlens store explain` makes the key of a recorded job again from it."""
        functions = {"": self.function, **self.functions}
        names = {"settings": list(self.settings), "plugins": list(self.plugins)}
        return {**names, "functions": functions, "analysis": self.analysis}


@dataclass(frozen=True)
class Pass:
    """One way to run a model over the evaluation images; its jobs follow: of all images, of shards, and joining.

    Attributes:
        name: of its jobs.
        code: "module:class", a `classlens.passes.base.Pass`, which says which columns it writes.
        rows: the file with a row per image.
        minutes, mem_mb: what a job on a GPU asks for.
        settings, plugins, needs, wildcards, priority: see `Job`; every pass has the setting `network`.
        inputs: its files beside images and weights.
        sums: "module:class", a `classlens.passes.base.Sums`: what it needs summed over all images before.
        finish: "module:function" that makes other files from those of rows, called as finish(files, **finished).
        finished: these files, by keyword.
        in_shards: every model's images are taken in shards, even if there is only one; a job of the catalog joins them.
    """

    name: str
    code: str
    rows: str
    minutes: int
    mem_mb: int = 16000
    settings: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    wildcards: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    priority: int = 0
    inputs: Mapping[str, Files] = field(default_factory=dict)
    sums: str = ""
    finish: str = ""
    finished: Mapping[str, str] = field(default_factory=dict)
    in_shards: bool = False

    @property
    def outputs(self) -> Mapping[str, str]:
        """The files that its jobs, or those that join shards, leave."""
        return self.finished or {"rows": self.rows}


@dataclass(frozen=True)
class Figure:
    """How an analysis is drawn, from its own table.

    Attributes:
        content: what the report's menu calls it.
        caption: see `Reported`.
        draw: "module:function", which returns a matplotlib figure of `table`, `models` (pairs of name and label) or
            `label`, and what `inputs` and `settings` name; see `classlens.figures.run`. By default `draw` of the module
            in `classlens.figures` that has the analysis's name.
        inputs: files besides the table, by keyword.
        settings: see `Job`; besides `models` or `label`.
        opening: see `Reported`.
    """

    content: str
    caption: str
    draw: str = ""
    inputs: Mapping[str, Files] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    opening: bool = False


@dataclass(frozen=True)
class Analysis:
    """A measure with its table, and its figure where it has one.

    Attributes:
        name: of its table and figure under results/.
        section: of the report.
        inputs: its files, by keyword.
        caption: of its table, see `Reported`.
        function: "module:function" of the measure, for one model; by default that of the analysis's name, in the module
            of this name in `classlens.measures`.
        settings: see `Job`; by default, how intervals resample images.
        local, plugins, environment, gpu, trial: see `Job`.
        group: what a config lists as `analyses`; by default its name.
        needs: see `Job`; equal in a group.
        tables: by keyword of the function, the tables that it writes.
        one_model: a table and a figure per model; otherwise tables of all models are stacked and drawn together.
        tested: its p-values are corrected when tables are stacked.
        twins: random twins are shown beside their models.
        of_images: it is measured on all evaluation images, so that captions say how many.
        figure: how it is drawn; a table without a figure is a target of its own.
        cluster_group: jobs that share a submitted job on a cluster, see docs/cluster.md.
    """

    name: str
    section: str
    inputs: Mapping[str, Files]
    caption: str
    function: str = ""
    settings: tuple[str, ...] = ("resampling",)
    group: str = ""
    needs: tuple[str, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    one_model: bool = False
    tested: bool = False
    twins: bool = False
    of_images: bool = True
    figure: Figure | None = None
    cluster_group: str = "finish_{model}"
    environment: str = ""
    gpu: Gpu | None = None
    local: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    trial: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", self.function or f"classlens.measures.{self.name}:{self.name}")
        object.__setattr__(self, "group", self.group or self.name)
        object.__setattr__(self, "tables", self.tables or {"table": self.name})
        if self.figure and not self.figure.draw:
            object.__setattr__(self, "figure", replace(self.figure, draw=f"classlens.figures.{self.name}:draw"))

    def table_path(self, table: str) -> str:
        """Return where a table of one model goes."""
        return f"results/tables/{table}_{{model}}.csv" if self.one_model else f"results/{{model}}/measures/{table}.csv"

    @property
    def figure_stem(self) -> str:
        """The path of its figure without the suffix."""
        return f"results/figures/{self.name}" + ("_{model}" if self.one_model else "")
