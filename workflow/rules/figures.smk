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


rule class_value_agreement_figure:
    input:
        table="results/tables/class_value_agreement.csv",
    output:
        svg=report(
            "results/figures/class_value_agreement.svg",
            caption="../report/class_value_agreement.rst",
            category=CATEGORIES["memories"],
            labels={"model": "all", "content": "figure: class-value"},
        ),
        png="results/figures/class_value_agreement.png",
    log:
        "logs/class_value_agreement_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("class_value_agreement_figure"),
    script:
        "../scripts/class_value_agreement_figure.py"


rule key_value_agreement_figure:
    input:
        table="results/tables/key_value_agreement.csv",
        classes="results/tables/key_value_agreement_classes.csv",
    output:
        svg=report(
            "results/figures/key_value_agreement.svg",
            caption="../report/key_value_agreement.rst",
            category=CATEGORIES["memories"],
            labels={"model": "all", "content": "figure: key-value"},
        ),
        png="results/figures/key_value_agreement.png",
    log:
        "logs/key_value_agreement_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("key_value_agreement_figure"),
    script:
        "../scripts/key_value_agreement_figure.py"


rule memory_comparison_figure:
    input:
        table="results/tables/memory_comparison.csv",
    output:
        svg=report(
            "results/figures/memory_comparison.svg",
            caption="../report/memory_comparison.rst",
            category=CATEGORIES["memories"],
            labels={"model": "all", "content": "figure: normalised depth"},
        ),
        png="results/figures/memory_comparison.png",
    log:
        "logs/memory_comparison_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("memory_comparison_figure"),
    script:
        "../scripts/memory_comparison_figure.py"


rule memory_composition_figure:
    input:
        table="results/tables/memory_composition.csv",
    output:
        svg=report(
            "results/figures/memory_composition.svg",
            caption="../report/memory_composition.rst",
            category=CATEGORIES["memories"],
            labels={"model": "all", "content": "figure: composition"},
        ),
        png="results/figures/memory_composition.png",
    log:
        "logs/memory_composition_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("memory_composition_figure"),
    script:
        "../scripts/memory_composition_figure.py"


rule agreement_vs_accuracy_figure:
    input:
        table="results/tables/agreement_vs_accuracy.csv",
    output:
        svg=report(
            "results/figures/agreement_vs_accuracy.svg",
            caption="../report/agreement_vs_accuracy.rst",
            category=CATEGORIES["agreement_vs_accuracy"],
            labels={"model": "all", "content": "figure: and accuracy"},
        ),
        png="results/figures/agreement_vs_accuracy.png",
    log:
        "logs/agreement_vs_accuracy_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("agreement_vs_accuracy_figure"),
    script:
        "../scripts/agreement_vs_accuracy_figure.py"


rule heatmaps_figure:
    input:
        table="results/tables/heatmaps_{model}.csv",
        pixels=pixel_file("evaluation"),
        stimuli=dataset_file("stimuli.csv"),
    output:
        svg=report(
            "results/figures/heatmaps_{model}.svg",
            caption="../report/heatmaps.rst",
            category=CATEGORIES["heatmaps"],
            labels={"model": "{model}", "content": "figure: heat maps"},
        ),
        png="results/figures/heatmaps_{model}.png",
    log:
        "logs/heatmaps_figure/{model}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("heatmaps_figure"),
    script:
        "../scripts/heatmaps_figure.py"


rule removal_curves_figure:
    input:
        table="results/tables/removal_curves_{model}.csv",
    output:
        svg=report(
            "results/figures/removal_curves_{model}.svg",
            caption="../report/removal_curves.rst",
            category=CATEGORIES["faithfulness"],
            labels={"model": "{model}", "content": "figure: removal curves"},
        ),
        png="results/figures/removal_curves_{model}.png",
    log:
        "logs/removal_curves_figure/{model}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("removal_curves_figure"),
    script:
        "../scripts/removal_curves_figure.py"


rule segmentation_scores_figure:
    input:
        table="results/tables/segmentation_scores.csv",
    output:
        svg=report(
            "results/figures/segmentation_scores.svg",
            caption="../report/segmentation_scores.rst",
            category=CATEGORIES["segmentation"],
            labels={"model": "all", "content": "figure: segmentation scores"},
        ),
        png="results/figures/segmentation_scores.png",
    log:
        "logs/segmentation_scores_figure.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("segmentation_scores_figure"),
    script:
        "../scripts/segmentation_scores_figure.py"


rule linear_probes_figure:
    input:
        table="results/tables/linear_probes_{model}.csv",
        removal="results/tables/removal_curves_{model}.csv",
    output:
        svg=report(
            "results/figures/linear_probes_{model}.svg",
            caption="../report/linear_probes.rst",
            category=CATEGORIES["linear_probes"],
            labels={"model": "{model}", "content": "figure: linear probes"},
        ),
        png="results/figures/linear_probes_{model}.png",
    log:
        "logs/linear_probes_figure/{model}.log",
    conda:
        "../../envs/figures.yaml"
    params:
        job=job("linear_probes_figure"),
    script:
        "../scripts/linear_probes_figure.py"
