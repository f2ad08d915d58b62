"""Figures, each drawn from the table of its name."""


rule identifiability_evolution_figure:
    input:
        table="results/tables/identifiability_evolution.csv",
    output:
        svg=report(
            "results/figures/identifiability_evolution.svg",
            caption="../report/identifiability_evolution.rst",
            category=CATEGORIES["identifiability"],
            labels={"model": "all", "content": "figure: per block"},
        ),
        png="results/figures/identifiability_evolution.png",
    log:
        "logs/identifiability_evolution_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("identifiability_evolution_figure"),
    script:
        "../scripts/identifiability_evolution_figure.py"


rule identifiability_comparison_figure:
    input:
        table="results/tables/identifiability_comparison.csv",
    output:
        svg=report(
            "results/figures/identifiability_comparison.svg",
            caption="../report/identifiability_comparison.rst",
            category=CATEGORIES["identifiability"],
            labels={"model": "all", "content": "figure: normalised depth"},
        ),
        png="results/figures/identifiability_comparison.png",
    log:
        "logs/identifiability_comparison_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("identifiability_comparison_figure"),
    script:
        "../scripts/identifiability_comparison_figure.py"


rule logit_increment_figure:
    input:
        table="results/tables/logit_increment.csv",
    output:
        svg=report(
            "results/figures/logit_increment.svg",
            caption="../report/logit_increment.rst",
            category=CATEGORIES["logit_increment"],
            labels={"model": "all", "content": "figure: logit increment"},
        ),
        png="results/figures/logit_increment.png",
    log:
        "logs/logit_increment_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("logit_increment_figure"),
    script:
        "../scripts/logit_increment_figure.py"


rule class_building_figure:
    input:
        table="results/tables/class_building_{model}.csv",
    output:
        svg=report(
            "results/figures/class_building_{model}.svg",
            caption="../report/class_building.rst",
            category=CATEGORIES["class_building"],
            labels={"model": "{model}", "content": "figure: class building"},
        ),
        png="results/figures/class_building_{model}.png",
    log:
        "logs/class_building_figure/{model}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("class_building_figure"),
    script:
        "../scripts/class_building_figure.py"


rule class_vs_context_figure:
    input:
        table="results/tables/class_vs_context_{model}.csv",
    output:
        svg=report(
            "results/figures/class_vs_context_{model}.svg",
            caption="../report/class_vs_context.rst",
            category=CATEGORIES["class_vs_context"],
            labels={"model": "{model}", "content": "figure: class and context"},
        ),
        png="results/figures/class_vs_context_{model}.png",
    log:
        "logs/class_vs_context_figure/{model}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("class_vs_context_figure"),
    script:
        "../scripts/class_vs_context_figure.py"
