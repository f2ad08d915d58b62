"""The tuned lens: an affine map of each block's output, and what is seen through it."""


# Of models whose training images do not fit into one shard; others have their sums from the job that fits.
rule tuned_lens_sums:
    input:
        training=reads(files.TRAINING),
        weights=files.WEIGHTS,
    output:
        shard=temp(files.LENS_SUMS),
    log:
        "logs/tuned_lens_sums/{model}/{shard}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("tuned_lens_sums", Gpu(minutes=60, mem_mb=16000)),
    params:
        jobs=jobs("tuned_lens_sums"),
    script:
        RUN_JOBS


# All blocks are fitted together, from the same forward passes.
rule fit_tuned_lens:
    input:
        training=reads(files.TRAINING),
        weights=files.WEIGHTS,
        shards=reads(files.lens_sums),
    output:
        maps=temp(files.LENS_MAPS),
    log:
        "logs/fit_tuned_lens/{model}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("fit_tuned_lens", Gpu(minutes=240, mem_mb=16000)),
    params:
        jobs=jobs("fit_tuned_lens"),
    script:
        RUN_JOBS


rule look_through_tuned_lens:
    input:
        evaluation=reads(files.EVALUATION),
        weights=files.WEIGHTS,
        maps=files.LENS_MAPS,
    output:
        shard=temp(files.LENS_SEEN),
    log:
        "logs/look_through_tuned_lens/{model}/{shard}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("look_through_tuned_lens", Gpu(minutes=60, mem_mb=16000)),
    params:
        jobs=jobs("look_through_tuned_lens"),
    script:
        RUN_JOBS


for depth in DEPTHS:

    rule:
        name:
            f"gather_tuned_lens_{depth}"
        input:
            shards=reads(files.all_shards(files.LENS_SEEN)),
            maps=files.LENS_MAPS,
        output:
            lens=files.block_files("results/{model}/tuned_lens", depth),
        log:
            "logs/gather_tuned_lens/{model}.log",
        wildcard_constraints:
            model=models_where("depth", depth),
        conda:
            "../../envs/data.yaml"
        resources:
            runtime=lambda wildcards, attempt: 60 * attempt,
        params:
            jobs=jobs("gather_tuned_lens"),
        script:
            RUN_JOBS
