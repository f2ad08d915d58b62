"""Measures of one model, from its layer files."""


rule identifiability:
    input:
        layers=layer_files,
        output="results/{model}/output.h5",
    output:
        measures="results/{model}/measures/identifiability.h5",
    log:
        "logs/identifiability/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("identifiability"),
    script:
        "../scripts/identifiability.py"


rule identifiability_tables:
    input:
        measures="results/{model}/measures/identifiability.h5",
        twin=lambda wildcards: twin_files(
            wildcards, "results/{model}/measures/identifiability.h5"
        ),
    output:
        evolution="results/{model}/measures/identifiability_evolution.csv",
        comparison="results/{model}/measures/identifiability_comparison.csv",
        rates="results/{model}/measures/identifiability_rates.csv",
    log:
        "logs/identifiability_evolution/{model}.log",
        "logs/identifiability_comparison/{model}.log",
        "logs/identifiability_rates/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            part(
                "identifiability_evolution",
                inputs=["measures", "twin"],
                outputs={"table": "evolution"},
            ),
            part(
                "identifiability_comparison",
                inputs=["measures"],
                outputs={"table": "comparison"},
            ),
            part(
                "identifiability_rates",
                inputs=["measures"],
                outputs={"table": "rates"},
            ),
        ),
    script:
        "../scripts/_batch.py"


rule logit_increment:
    input:
        layers=layer_files,
    output:
        table="results/{model}/measures/logit_increment.csv",
    log:
        "logs/logit_increment/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("logit_increment"),
    script:
        "../scripts/logit_increment.py"


rule class_building:
    input:
        layers=layer_files,
    output:
        table=report(
            "results/tables/class_building_{model}.csv",
            caption="../report/class_building.rst",
            category=CATEGORIES["class_building"],
            labels={"model": "{model}", "content": "table"},
        ),
    log:
        "logs/class_building/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("class_building"),
    script:
        "../scripts/class_building.py"


rule class_and_context:
    input:
        layers=layer_files,
        labels="results/{model}/token_labels.h5",
    output:
        table=report(
            "results/tables/class_vs_context_{model}.csv",
            caption="../report/class_vs_context.rst",
            category=CATEGORIES["class_vs_context"],
            labels={"model": "{model}", "content": "table"},
        ),
        change="results/{model}/measures/class_context_change.csv",
    log:
        "logs/class_vs_context/{model}.log",
        "logs/class_context_change/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            part(
                "class_vs_context",
                inputs=["layers", "labels"],
                outputs={"table": "table"},
            ),
            part(
                "class_context_change",
                inputs=["layers", "labels"],
                outputs={"table": "change"},
            ),
        ),
    script:
        "../scripts/_batch.py"
