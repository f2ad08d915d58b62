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
            told=lambda wildcards: shown(
                STACKED[wildcards.comparison].caption, wildcards, STACKED[wildcards.comparison]
            ),
        ),
    script:
        RUN_JOB
