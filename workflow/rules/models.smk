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
        model=one_of(set(UNTRAINED) - set(BROUGHT)),
    # Before data sets are read, which may take hours: what is wrong with a checkpoint or head is told at once.
    priority: 1
    conda:
        "../../envs/torch.yaml"
    params:
        job=job(
            "weights",
            "classlens.models.weights:write_weights",
            settings=["architecture", "origin"],
            raw=lambda wildcards: [*files.checkpoint(CONFIG, wildcards), *files.head(CONFIG, wildcards)],
        ),
    script:
        RUN_JOB


rule brought_weights:
    input:
        files=reads(files.checkpoint),
        head=reads(files.head),
        stimuli=reads(files.STIMULI),
    output:
        weights=files.WEIGHTS,
        certificate=files.CERTIFICATE,
    log:
        "logs/weights/{model}.log",
    wildcard_constraints:
        model=one_of(BROUGHT),
    priority: 1
    conda:
        "../../envs/sources.yaml"
    params:
        job=job(
            "brought_weights",
            "classlens.sources.bring:write_brought",
            settings=["source_name", "texts"],
            local=["source_place", "raw_folders"],
            plugins=["source"],
            raw=lambda wildcards: [*files.checkpoint(CONFIG, wildcards), *files.head(CONFIG, wildcards)],
        ),
    script:
        RUN_JOB


TRAINING = job(
    "train",
    "classlens.models.train:train",
    settings=["architecture", "normalisation", "recipe"],
    local=["extraction.device"],
)


rule train:
    input:
        training=reads(files.TRAINING),
        evaluation=reads(files.EVALUATION),
    output:
        weights=files.WEIGHTS,
        history=files.HISTORY,
    log:
        "logs/train/{model}.log",
    wildcard_constraints:
        model=one_of(TRAINED),
    conda:
        "../../envs/torch.yaml"
    resources:
        **gpu_resources(Gpu(minutes=240, mem_mb=8000), TRAINING, {"weights": files.WEIGHTS, "history": files.HISTORY}),
    params:
        job=TRAINING,
    script:
        RUN_JOB
