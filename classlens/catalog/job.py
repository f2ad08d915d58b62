"""What a declaration says of a job and of an analysis; rules, targets, schema, report and keys follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classlens.config import Config

Wildcards = Mapping[str, str]
Setting = Callable[["Config", Wildcards], dict[str, Any]]
"""Returns keyword arguments from the config, as JSON knows them."""
Files = str | Callable[["Config", Wildcards], str | list[str]]
"""A path with wildcards, or what names the file or files of a job."""
Plugins = Callable[["Config", Wildcards], dict[str, str]]
"""Returns functions or classes ("module:name") that a job's function is given, by keyword."""

MASKS, CLASS_TOKEN, TRAINING_IMAGES = "masks", "[CLS]", "training images"
HEATMAP_METHOD, ATTRIBUTION = "what the explanation of heat maps needs", "what direct logit attribution needs"
"""What a model or its data set must have for some jobs."""


@dataclass(frozen=True)
class Job:
    """One kind of job: `function(**inputs, **outputs, **settings, **local, **plugins)`.

    Attributes:
        name: of the job, in records and logs.
        function: "module:function".
        settings: the part of the config that shapes the result; part of the key.
        local: what does not shape it (threads, device, where raw data lies); no part of the key. The value of `threads`
            is what the scheduler gives.
        needs: what the model must have.
        plugins: further functions; part of the key.
    """

    name: str
    function: str
    settings: tuple[Setting, ...] = ()
    local: tuple[Setting, ...] = ()
    needs: tuple[str, ...] = ()
    plugins: Plugins | None = None


@dataclass(frozen=True)
class Figure:
    """How an analysis is drawn, from its own table.

    Attributes:
        draw: "module:function", which returns a matplotlib figure of `table`, `models` (pairs of name and label) or
            `label`, and what `inputs` and `settings` name; see `classlens.figures.run`.
        content: what the report's menu calls it.
        caption: of the report; see `classlens.catalog.plan.report_caption` for what is filled in and added.
        inputs: files besides the table, by keyword.
        settings: keywords besides `models` or `label`.
        opening: one of those that the report opens with.
    """

    draw: str
    content: str
    caption: str
    inputs: Mapping[str, Files] = field(default_factory=dict)
    settings: tuple[Setting, ...] = ()
    opening: bool = False


@dataclass(frozen=True)
class Gpu:
    """What a job on a GPU asks of a scheduler at its first attempt."""

    minutes: int
    mem_mb: int


@dataclass(frozen=True)
class Analysis:
    """A measure with its table, and its figure where it has one.

    Attributes:
        name: of its table and figure under results/.
        section: of the report.
        function: "module:function" of the measure, for one model.
        inputs: its files, by keyword.
        caption: of its table, as that of `Figure`.
        settings: see `Job`.
        group: what a config lists as `analyses`; by default its name.
        needs: see `Job`; equal in a group.
        tables: by keyword of the function, the tables that it writes.
        one_model: a table and a figure per model; otherwise tables of all models are stacked and drawn together.
        tested: its p-values are corrected when tables are stacked.
        twins: random twins are shown beside their models.
        of_images: it is measured on all evaluation images, so that captions say how many.
        figure: how it is drawn; a table without a figure is a target of its own.
        rule: analyses with the same rule share a process, so that what they import is imported once.
        cluster_group: jobs that share a submitted job on a cluster, see docs/cluster.md.
        environment: in envs/.
        gpu: it runs a model.
        local, plugins: see `Job`.
    """

    name: str
    section: str
    function: str
    inputs: Mapping[str, Files]
    caption: str
    settings: tuple[Setting, ...] = ()
    group: str = ""
    needs: tuple[str, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    one_model: bool = False
    tested: bool = False
    twins: bool = False
    of_images: bool = True
    figure: Figure | None = None
    rule: str = ""
    cluster_group: str = "finish_{model}"
    environment: str = "analysis"
    gpu: Gpu | None = None
    local: tuple[Setting, ...] = ()
    plugins: Plugins | None = None

    def __post_init__(self) -> None:
        for name in ("group", "rule"):
            object.__setattr__(self, name, getattr(self, name) or self.name)
        object.__setattr__(self, "tables", self.tables or {"table": self.name})

    @property
    def job(self) -> Job:
        """The job of its measure."""
        return Job(self.name, self.function, self.settings, self.local, self.needs, self.plugins)

    def table_path(self, table: str) -> str:
        """Return where a table of one model goes."""
        return f"results/tables/{table}_{{model}}.csv" if self.one_model else f"results/{{model}}/measures/{table}.csv"

    @property
    def figure_stem(self) -> str:
        """The path of its figure without the suffix."""
        return f"results/figures/{self.name}" + ("_{model}" if self.one_model else "")
