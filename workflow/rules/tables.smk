"""Tables that put the measures of all models side by side."""


rule comparison_table:
    input:
        measures=lambda wildcards: expand(
            "results/{model}/measures/{comparison}.csv",
            model=as_workflow_error(planning.compared_models, CONFIG, STACKED[wildcards.comparison]),
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
        job=job(
            "comparison_table",
            "classlens.tables.combine:stacked_table",
            settings=["stacked_models", "stacked_correction"],
            shown=lambda wildcards: (STACKED[wildcards.comparison].caption, STACKED[wildcards.comparison]),
        ),
    script:
        RUN_JOB


rule overview:
    input:
        outputs=expand(files.OUTPUT, model=planning.overviewed_models(CONFIG)),
    output:
        table=reported("results/tables/overview.csv", SECTIONS[0], "table: models and data", model="all"),
    log:
        "logs/overview.log",
    group:
        "summary"
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job(
            "overview",
            "classlens.tables.overview:overview",
            settings=["overview", "resampling"],
            shown=lambda wildcards: (
                "The models of this run and the evaluation images that they were shown: number of images and of their "
                "classes, accuracy (a fraction) with its bootstrap interval over images ({resamples} resamples), number of "
                "classes of the head, blocks, heads, width, and tokens.",
                None,
            ),
        ),
    script:
        RUN_JOB


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
        job=job(
            "published_comparison",
            "classlens.tables.published:published_comparison",
            shown=lambda wildcards: (
                "Values that Vilas, Schaumlöffel & Roig (NeurIPS 2023) published for the last block of these models, in %, and "
                "their reproduction with its bootstrap interval.",
                None,
            ),
        ),
    script:
        RUN_JOB


# The numbers of tables as LaTeX macros.
rule numbers:
    input:
        **{name: f"results/tables/{name}.csv" for name in planning.cited_tables(CONFIG)},
    output:
        numbers="results/numbers.tex",
    log:
        "logs/numbers.log",
    group:
        "summary"
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job(
            "numbers",
            "classlens.tables.numbers:write_numbers",
            settings=["statistics.confidence", "statistics.resamples"],
        ),
    script:
        RUN_JOB
