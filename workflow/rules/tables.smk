"""Tables that put the measures of all models side by side."""


rule comparison_table:
    input:
        measures=lambda wildcards: expand(
            "results/{model}/measures/{comparison}.csv",
            model=compared_models(CONFIG, wildcards.comparison),
            comparison=wildcards.comparison,
        ),
    output:
        table=report(
            "results/tables/{comparison}.csv",
            caption="../report/comparison_table.rst",
            category=lambda wildcards: CATEGORIES[ANALYSES[wildcards.comparison]],
            labels={"model": "all", "content": "table: {comparison}"},
        ),
    log:
        "logs/comparison_table/{comparison}.log",
    wildcard_constraints:
        comparison=one_of(COMPARISONS),
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("comparison_table"),
    script:
        "../scripts/comparison_table.py"


rule published_comparison:
    input:
        rates="results/tables/identifiability_rates.csv",
    output:
        table=report(
            "results/tables/published_comparison.csv",
            caption="../report/published_comparison.rst",
            category=CATEGORIES["identifiability"],
            labels={"model": "all", "content": "table: published and reproduced"},
        ),
    log:
        "logs/published_comparison.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("published_comparison"),
    script:
        "../scripts/published_comparison.py"
