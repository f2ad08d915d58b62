"""Every job of a model, with the rule that it becomes: from passes, other jobs, analyses and their figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from classlens.catalog import files, planning
from classlens.catalog.analyses import ANALYSES, JOBS, PASSES, SECTIONS
from classlens.catalog.job import EXECUTION, Analysis, Figure, Files, Gpu, Job, Pass, Reported
from classlens.config.config import Config

RUN = "classlens.passes.run:run_pass"


def rules_of(config: Config) -> list[Job]:
    """Return the jobs of a config's models and the tables of all of them, each of which becomes a rule.

    Args:
        config: with the facts about architectures.
    """
    in_shards = tuple(name for name in config.models if config.shards(name) > 1)
    whole = tuple(name for name in config.models if name not in in_shards)
    jobs = [job for one in PASSES.values() for job in jobs_of_pass(one, whole, in_shards)]
    jobs += [of_depth for job in JOBS.values() for of_depth in _spelled_out(job, config)]
    for analysis in ANALYSES.values():
        jobs.append(job_of_analysis(analysis))
        if analysis.figure:
            jobs.append(job_of_figure(analysis, analysis.figure))
    return [*jobs, *_summaries(config)]


def jobs_of_pass(one: Pass, whole: tuple[str, ...], in_shards: tuple[str, ...]) -> Iterator[Job]:
    """Yield the jobs of a pass.

    Args:
        one: the pass.
        whole: models all of whose images a job takes.
        in_shards: models whose images are taken in shards, which another job joins.
    """
    job = Job(
        one.name,
        RUN,
        {"pixels": files.EVALUATION, "weights": files.WEIGHTS, **one.inputs},
        {"rows": one.rows},
        settings=("network", *one.settings),
        local=EXECUTION,
        functions={"of": one.code},
        plugins=one.plugins,
        needs=one.needs,
        wildcards=one.wildcards,
        gpu=Gpu(one.minutes, one.mem_mb),
        priority=one.priority,
    )
    shard = replace(job, settings=(*job.settings, "shard"), temporary=True)
    if one.in_shards:
        yield shard
        return
    if whole:
        also = {name: code for name, code in (("sums", one.sums), ("finish", one.finish)) if code}
        yield replace(job, models=whole, outputs=one.outputs, functions={**job.functions, **also})
    if not in_shards:
        return
    rows = files.shard_of(one.rows)
    shard = replace(shard, models=in_shards, rule=f"{one.name}_shard", outputs={"rows": rows})
    if one.sums:
        sums, added = (path.replace("{of}", one.name) for path in (files.SUMS, files.SUMMED))
        yield replace(
            shard,
            name=f"{one.name}_sums",
            rule="",
            function="classlens.passes.sums:write_sums",
            inputs={"pixels": files.EVALUATION, "weights": files.WEIGHTS},
            outputs={"shard": sums},
            settings=("network", "shard"),
            functions={"of": one.sums},
            plugins=(),
            gpu=Gpu(60),
        )
        yield Job(
            f"{one.name}_summed",
            "classlens.passes.sums:add_sums",
            {"shards": files.all_shards(sums)},
            {"summed": added},
            models=in_shards,
            environment="torch",
            temporary=True,
        )
        shard = replace(shard, inputs={**shard.inputs, "summed": added})
    yield shard
    yield Job(
        f"{one.name}_join",
        one.finish or "classlens.joining:join",
        {"shards": files.all_shards(rows)},
        one.outputs,
        needs=one.needs,
        models=in_shards,
        wildcards=one.wildcards,
        environment="analysis" if one.finish else "data",
        minutes=240,
    )


def pass_of(job: Job) -> Pass | None:
    """Return the pass that a job runs, or whose shards it joins; None of other jobs."""
    name = job.name.removesuffix("_join")
    return PASSES.get(name) if job.function == RUN or name != job.name else None


def job_of_analysis(analysis: Analysis) -> Job:
    """Return the job of a measure."""
    outputs = {key: analysis.table_path(table) for key, table in analysis.tables.items()}
    content = dict.fromkeys(outputs, "table")
    return Job(
        analysis.name,
        analysis.function,
        analysis.inputs,
        outputs,
        settings=analysis.settings,
        local=analysis.local,
        plugins=analysis.plugins,
        needs=analysis.needs,
        environment=analysis.environment,
        gpu=analysis.gpu,
        group=analysis.cluster_group,
        reported=Reported(analysis.section, content, analysis.caption) if analysis.one_model else None,
        analysis=analysis.name,
        trial=analysis.trial,
    )


def job_of_figure(analysis: Analysis, figure: Figure) -> Job:
    """Return the job that draws an analysis."""
    [table, *_] = analysis.tables.values()
    read: dict[str, Files] = {**figure.inputs}
    read["table"] = analysis.table_path(table) if analysis.one_model else f"results/tables/{table}.csv"
    return Job(
        f"{analysis.name}_figure",
        "classlens.figures.run:draw_figure",
        read,
        {suffix: f"{analysis.figure_stem}.{suffix}" for suffix in ("svg", "png")},
        settings=("drawing",),
        functions={"draw": figure.draw},
        needs=analysis.needs if analysis.one_model else (),
        environment="figures",
        group=(analysis.cluster_group or "finish_{model}") if analysis.one_model else "summary",
        reported=Reported(analysis.section, {"svg": figure.content}, figure.caption, figure.opening),
        analysis=analysis.name,
    )


def _spelled_out(job: Job, config: Config) -> Iterator[Job]:
    """Yield a job with all outputs; one for each number of blocks, since rules have a fixed number of them."""
    sites = planning.probed_sites(config)
    of_sites = {key: [path.replace("{site}", site) for site in sites] for key, path in job.of_sites.items()}
    job = replace(job, outputs={**job.outputs, **of_sites}, of_sites={})
    if not job.of_blocks:
        yield job
        return
    for depth in sorted({facts["depth"] for facts in config.architectures.values()}):
        blocks = {key: files.block_files(folder, depth) for key, folder in job.of_blocks.items()}
        models = tuple(name for name in config.models if config.architecture(name)["depth"] == depth)
        yield replace(job, rule=f"{job.name}_{depth}", outputs={**job.outputs, **blocks}, models=models, of_blocks={})


def _summaries(config: Config) -> Iterator[Job]:
    """Yield the jobs that put all models side by side, beside those that stack the tables of an analysis."""
    outputs = [files.OUTPUT.format(model=model) for model in planning.overviewed_models(config)]
    yield Job(
        "overview",
        "classlens.tables.overview:overview",
        {"outputs": lambda _config, _wildcards: outputs},
        {"table": "results/tables/overview.csv"},
        settings=("overview", "resampling"),
        group="summary",
        reported=Reported(
            SECTIONS[0],
            {"table": "table: models and data"},
            "The models of this run and the evaluation images that they were shown: number of images and of their "
            "classes, accuracy (a fraction) with its bootstrap interval over images ({resamples} resamples), number of "
            "classes of the head, blocks, heads, width, and tokens.",
        ),
    )
    yield Job(
        "published_comparison",
        "classlens.tables.published:published_comparison",
        {"rates": "results/tables/identifiability_rates.csv"},
        {"table": "results/tables/published_comparison.csv"},
        group="summary",
        reported=Reported(
            "Identifiability",
            {"table": "table: published and reproduced"},
            "Values that Vilas, Schaumlöffel & Roig (NeurIPS 2023) published for the last block of these models, in %, "
            "and their reproduction with its bootstrap interval.",
        ),
    )
    yield Job(
        "numbers",
        "classlens.tables.numbers:write_numbers",
        {name: f"results/tables/{name}.csv" for name in planning.cited_tables(config)},
        {"numbers": "results/numbers.tex"},
        settings=("statistics.confidence", "statistics.resamples"),
        group="summary",
    )


def wildcards_of(job: Job) -> list[str]:
    """Return the wildcards of a job's outputs, in the order of the first one's path."""
    first = next(iter(job.outputs.values()))
    return re.findall(r"\{(\w+)\}", first if isinstance(first, str) else first[0])
