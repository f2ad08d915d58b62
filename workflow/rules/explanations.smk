"""Explanations, how faithful they are, and how well they find the object."""


rule gradient_explanations:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
    output:
        gradient="results/{model}/explanation/gradient.h5",
        gradient_logit="results/{model}/explanation/gradient_logit.h5",
        gradient_double_softmax="results/{model}/explanation/gradient_double_softmax.h5",
    log:
        "logs/gradient_explanations/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("gradient_explanations", gpu=1, runtime=240, mem_mb=16000),
    params:
        job=job("gradient_explanations"),
    script:
        "../scripts/gradient_explanations.py"


rule attention_explanations:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
    output:
        chefer="results/{model}/explanation/chefer.h5",
        rollout="results/{model}/explanation/rollout.h5",
        attention="results/{model}/explanation/attention.h5",
    log:
        "logs/attention_explanations/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("attention_explanations", gpu=1, runtime=240, mem_mb=16000),
    params:
        job=job("attention_explanations"),
    script:
        "../scripts/attention_explanations.py"


rule random_explanation:
    input:
        pixels=pixel_file("evaluation"),
    output:
        explanation="results/{model}/explanation/random.h5",
    log:
        "logs/random_explanation/{model}.log",
    conda:
        "../../envs/torch.yaml"
    params:
        job=job("random_explanation"),
    script:
        "../scripts/random_explanation.py"


rule removal_curves:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
        explanation=lambda wildcards: (
            []
            if wildcards.method == "random"
            else [f"results/{wildcards.model}/explanation/{wildcards.method}.h5"]
        ),
    output:
        curves="results/{model}/faithfulness/{method}.csv",
        images_right="results/{model}/faithfulness/{method}.h5",
    log:
        "logs/removal_curves/{model}/{method}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("removal_curves", gpu=1, runtime=720, mem_mb=16000),
    params:
        job=job("removal_curves"),
    script:
        "../scripts/removal_curves.py"


rule faithfulness_auc:
    input:
        images_right=method_files("results/{model}/faithfulness/{method}.h5"),
    output:
        table="results/{model}/measures/faithfulness_auc.csv",
    log:
        "logs/faithfulness_auc/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("faithfulness_auc"),
    script:
        "../scripts/faithfulness_auc.py"


rule removal_curves_table:
    input:
        curves=method_files("results/{model}/faithfulness/{method}.csv"),
        areas="results/{model}/measures/faithfulness_auc.csv",
    output:
        table=report(
            "results/tables/removal_curves_{model}.csv",
            caption="../report/removal_curves.rst",
            category=CATEGORIES["faithfulness"],
            labels={"model": "{model}", "content": "table: removal curves"},
        ),
    log:
        "logs/removal_curves_table/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("removal_curves_table"),
    script:
        "../scripts/removal_curves_table.py"


rule segmentation_scores:
    input:
        masks=pixel_file("masks"),
        explanations=method_files("results/{model}/explanation/{method}.h5"),
    output:
        table="results/{model}/measures/segmentation_scores.csv",
    log:
        "logs/segmentation_scores/{model}.log",
    conda:
        "../../envs/data.yaml"
    params:
        job=job("segmentation_scores"),
    script:
        "../scripts/segmentation_scores.py"


rule heatmaps:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
        output="results/{model}/output.h5",
    output:
        table=report(
            "results/tables/heatmaps_{model}.csv",
            caption="../report/heatmaps.rst",
            category=CATEGORIES["heatmaps"],
            labels={"model": "{model}", "content": "table: heat maps"},
        ),
    log:
        "logs/heatmaps/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("heatmaps", gpu=1, runtime=30, mem_mb=8000),
    params:
        job=job("heatmaps"),
    script:
        "../scripts/heatmaps.py"
