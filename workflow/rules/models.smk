"""Weights of models, in canonical form."""


rule weights:
    input:
        source=weights_source,
    output:
        weights="results/{model}/weights.safetensors",
    params:
        job=job("weights"),
    wildcard_constraints:
        model=one_of(UNTRAINED),
    log:
        "logs/weights/{model}.log",
    conda:
        "../../envs/torch.yaml"
    script:
        "../scripts/weights.py"


rule train:
    input:
        training=pixel_file("training"),
        evaluation=pixel_file("evaluation"),
    output:
        weights="results/{model}/weights.safetensors",
        history="results/{model}/training.csv",
    params:
        job=job("train"),
    wildcard_constraints:
        model=one_of(TRAINED),
    log:
        "logs/train/{model}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        gpu=1,
    script:
        "../scripts/train.py"
