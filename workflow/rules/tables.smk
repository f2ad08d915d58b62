"""Tables that put the measures of all models side by side."""


rule identifiability_evolution_table:
    input:
        measures=expand(
            "results/{model}/measures/identifiability_evolution.csv",
            model=[
                name
                for name in CONFIG.models_with("identifiability")
                if not CONFIG.is_twin(name)
            ],
        ),
    output:
        table=report(
            "results/tables/identifiability_evolution.csv",
            caption="../report/identifiability_evolution.rst",
            category="Identifiability",
            labels={"model": "all", "content": "table: per block"},
        ),
    params:
        job=job("identifiability_evolution_table"),
    log:
        "logs/identifiability_evolution_table.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/identifiability_evolution_table.py"


rule identifiability_comparison_table:
    input:
        measures=expand(
            "results/{model}/measures/identifiability_comparison.csv",
            model=CONFIG.models_with("identifiability"),
        ),
    output:
        table=report(
            "results/tables/identifiability_comparison.csv",
            caption="../report/identifiability_comparison.rst",
            category="Identifiability",
            labels={"model": "all", "content": "table: normalised depth"},
        ),
    params:
        job=job("identifiability_comparison_table"),
    log:
        "logs/identifiability_comparison_table.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/identifiability_comparison_table.py"


rule identifiability_rates_table:
    input:
        measures=expand(
            "results/{model}/measures/identifiability_rates.csv",
            model=CONFIG.models_with("identifiability"),
        ),
    output:
        table=report(
            "results/tables/identifiability_rates.csv",
            caption="../report/identifiability_rates.rst",
            category="Identifiability",
            labels={"model": "all", "content": "table: last block"},
        ),
    params:
        job=job("identifiability_rates_table"),
    log:
        "logs/identifiability_rates_table.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/identifiability_rates_table.py"


rule logit_increment_table:
    input:
        measures=expand(
            "results/{model}/measures/logit_increment.csv",
            model=CONFIG.models_with("logit_increment"),
        ),
    output:
        table=report(
            "results/tables/logit_increment.csv",
            caption="../report/logit_increment.rst",
            category="Class building",
            labels={"model": "all", "content": "table: logit increment"},
        ),
    params:
        job=job("logit_increment_table"),
    log:
        "logs/logit_increment_table.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/logit_increment_table.py"


rule class_context_change_table:
    input:
        measures=expand(
            "results/{model}/measures/class_context_change.csv",
            model=CONFIG.models_with("class_vs_context"),
        ),
    output:
        table=report(
            "results/tables/class_context_change.csv",
            caption="../report/class_context_change.rst",
            category="Class and context",
            labels={"model": "all", "content": "table: logit change"},
        ),
    params:
        job=job("class_context_change_table"),
    log:
        "logs/class_context_change_table.log",
    conda:
        "../../envs/analysis.yaml"
    script:
        "../scripts/class_context_change_table.py"
