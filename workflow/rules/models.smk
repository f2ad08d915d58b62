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
        model=one_of([name for name in TRAINED if len(CONFIG.points(name)) == 1]),
    conda:
        "../../envs/torch.yaml"
    resources:
        **gpu_resources(Gpu(minutes=240, mem_mb=8000), TRAINING, {"weights": files.WEIGHTS, "history": files.HISTORY}),
    params:
        job=TRAINING,
    script:
        RUN_JOB


TRAINING_SERIES = job(
    "train_series",
    "classlens.models.train:train",
    settings=["architecture", "normalisation", "recipe", "kept"],
    local=["extraction.device"],
)


# One training writes the weights of all points of a series; its settings and its record are those of the last.
for last in [name for name in TRAINED if len(CONFIG.points(name)) > 1 and not CONFIG.is_passing(name)]:
    series = CONFIG.models[last]["series"]["name"]
    made = {
        "weights": [files.WEIGHTS.format(model=point) for point in CONFIG.points(last)],
        "history": files.HISTORY.format(model=series),
    }
    described = lambda wildcards, model=last: TRAINING_SERIES({"model": model})

    rule:
        name:
            f"train_series_{series}"
        input:
            training=files.TRAINING(CONFIG, {"model": last}),
            evaluation=files.EVALUATION(CONFIG, {"model": last}),
        output:
            **made,
        log:
            f"logs/train/{series}.log",
        conda:
            "../../envs/torch.yaml"
        resources:
            **gpu_resources(Gpu(minutes=240, mem_mb=8000), described, made),
        params:
            job=described,
        script:
            RUN_JOB
