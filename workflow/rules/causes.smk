"""What changes in the model's answer when heads or tokens are replaced by their mean over images."""


rule head_effects:
    input:
        pixels=reads(files.EVALUATION),
        weights=files.WEIGHTS,
        attribution=files.ATTRIBUTION,
    output:
        effects=files.HEAD_EFFECTS,
    log:
        "logs/head_effects/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("head_effects", Gpu(minutes=720, mem_mb=16000)),
    params:
        jobs=jobs("head_effects"),
    script:
        RUN_JOBS


rule token_effects:
    input:
        pixels=reads(files.EVALUATION),
        weights=files.WEIGHTS,
        layers=reads(files.LAYERS),
        labels=reads(files.token_labels),
    output:
        effects=files.TOKEN_EFFECTS,
    log:
        "logs/token_effects/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("token_effects", Gpu(minutes=720, mem_mb=16000)),
    params:
        jobs=jobs("token_effects"),
    script:
        RUN_JOBS
