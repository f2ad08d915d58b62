"""Weights of models, in canonical form."""


rule weights:
    input:
        source=reads(files.checkpoint),
        head=reads(files.head),
    output:
        weights=files.WEIGHTS,
    log:
        "logs/weights/{model}.log",
    wildcard_constraints:
        model=one_of(UNTRAINED),
    # Before data sets are read, which may take hours: what is wrong with a checkpoint or head is told at once.
    priority: 1
    conda:
        "../../envs/torch.yaml"
    params:
        jobs=jobs("weights", raw=[reads(files.checkpoint), reads(files.head)]),
    script:
        RUN_JOBS


rule train:
    input:
        training=reads(files.TRAINING),
        evaluation=reads(files.EVALUATION),
    output:
        weights=files.WEIGHTS,
        history="results/{model}/training.csv",
    log:
        "logs/train/{model}.log",
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../../envs/torch.yaml"
    resources:
        **gpu_resources("train", Gpu(minutes=240, mem_mb=8000)),
    params:
        jobs=jobs("train"),
    script:
        RUN_JOBS
