"""Measures, their tables and figures: a rule for every declaration in classlens/catalog."""

# Those that share a rule run in one process, each with a key of its own.
for rule_name, analyses in rules_of_analyses().items():

    rule:
        name:
            rule_name
        input:
            **{
                key: reads(name)
                for analysis in analyses
                for key, name in analysis.inputs.items()
            },
        output:
            **measured(analyses),
        log:
            [f"logs/{analysis.name}/{{model}}.log" for analysis in analyses],
        group:
            analyses[0].cluster_group or None
        conda:
            f"../../envs/{analyses[0].environment}.yaml"
        threads: CONFIG.extraction["threads"] if analyses[0].gpu else 1
        resources:
            **(gpu_resources(rule_name, analyses[0].gpu) if analyses[0].gpu else {}),
        params:
            jobs=measures(analyses),
        script:
            RUN_JOBS


# Tables that put the measures of all models side by side.
rule comparison_table:
    input:
        measures=lambda wildcards: expand(
            "results/{model}/measures/{comparison}.csv",
            model=as_workflow_error(
                CONFIG.compared_models, STACKED[wildcards.comparison]
            ),
            comparison=wildcards.comparison,
        ),
    output:
        table=reported(
            "results/tables/{comparison}.csv",
            lambda wildcards: STACKED[wildcards.comparison].section,
            "table: {comparison}",
            model="all",
        ),
    log:
        "logs/comparison_table/{comparison}.log",
    wildcard_constraints:
        comparison=one_of(STACKED),
    group:
        "summary"
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=shown_job(
            "comparison_table",
            lambda analysis: analysis.caption,
            lambda wildcards: STACKED[wildcards.comparison],
        ),
    script:
        RUN_JOBS


rule overview:
    input:
        outputs=expand(files.OUTPUT, model=overviewed_models(CONFIG)),
    output:
        table=reported(
            "results/tables/overview.csv",
            SECTIONS[0],
            "table: models and data",
            model="all",
        ),
    log:
        "logs/overview.log",
    group:
        "summary"
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=shown_job(
            "overview",
            "The models of this run and the evaluation images that they were shown: number of images and of their "
            "classes, accuracy (a fraction) with its bootstrap interval over images ({resamples} resamples), number of "
            "classes of the head, blocks, heads, width, and tokens.",
        ),
    script:
        RUN_JOBS


rule published_comparison:
    input:
        rates="results/tables/identifiability_rates.csv",
    output:
        table=reported(
            "results/tables/published_comparison.csv",
            "Identifiability",
            "table: published and reproduced",
            model="all",
        ),
    log:
        "logs/published_comparison.log",
    group:
        "summary"
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=shown_job(
            "published_comparison",
            "Values that Vilas, Schaumlöffel & Roig (NeurIPS 2023) published for the last block of these models, in %, and "
            "their reproduction.",
        ),
    script:
        RUN_JOBS


for analysis in filter(lambda one: one.figure, ANALYSES.values()):
    [table, *_] = analysis.tables.values()

    rule:
        name:
            f"{analysis.name}_figure"
        input:
            **{key: reads(name) for key, name in analysis.figure.inputs.items()},
            table=(
                analysis.table_path(table)
                if analysis.one_model
                else f"results/tables/{table}.csv"
            ),
        output:
            svg=reported(
                f"{analysis.figure_stem}.svg",
                analysis.section,
                analysis.figure.content,
                model="{model}" if analysis.one_model else "all",
            ),
            png=f"{analysis.figure_stem}.png",
        log:
            (
                f"logs/{analysis.name}_figure/{{model}}.log"
                if analysis.one_model
                else f"logs/{analysis.name}_figure.log"
            ),
        group:
            (analysis.cluster_group or "finish_{model}")
            if analysis.one_model
            else "summary"
        conda:
            "../../envs/figures.yaml"
        params:
            jobs=shown_job(
                f"{analysis.name}_figure",
                analysis.figure.caption,
                lambda wildcards, analysis=analysis: analysis,
                opening=analysis.figure.opening,
            ),
        script:
            RUN_JOBS
