"""Weights of models, in canonical form."""


rule weights:
    input:
        source=weights_source,
        head=head_source,
    output:
        weights="results/{model}/weights.safetensors",
    log:
        "logs/weights/{model}.log",
    wildcard_constraints:
        model=one_of(UNTRAINED),
    conda:
        "../../envs/torch.yaml"
    params:
        job=job("weights"),
    script:
        "../scripts/weights.py"


rule train:
    input:
        training=pixel_file("training"),
        evaluation=pixel_file("evaluation"),
    output:
        weights="results/{model}/weights.safetensors",
        history="results/{model}/training.csv",
    log:
        "logs/train/{model}.log",
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../../envs/torch.yaml"
    resources:
        **unless_stored("train", gpu=1, runtime=240, mem_mb=8000),
    params:
        job=job("train"),
    script:
        "../scripts/train.py"
