"""What makes one file of a model's shards, and what its shards need of all its images."""


# Of files with a row per image and nothing else.
rule join_shards:
    input:
        shards=reads(files.joined_shards),
    output:
        joined="results/{model}/{file}.h5",
    log:
        "logs/join_shards/{model}/{file}.log",
    wildcard_constraints:
        model=one_of(IN_SHARDS),
        file=rf"perturbation/\w+|explanation/({one_of(COMPUTED)})|attribution/logit|causes/(heads|tokens)",
    conda:
        "../../envs/data.yaml"
    resources:
        runtime=lambda wildcards, attempt: 240 * attempt,
    params:
        jobs=jobs("join"),
    script:
        RUN_JOBS


rule join_removal_curves:
    input:
        shards=reads(
            files.all_shards(
                files.shard_of("results/{model}/faithfulness/{method}.h5")
            )
        ),
    output:
        curves="results/{model}/faithfulness/{method}.csv",
        correct_per_image="results/{model}/faithfulness/{method}.h5",
    log:
        "logs/join_removal_curves/{model}/{method}.log",
    wildcard_constraints:
        model=one_of(IN_SHARDS),
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("join_removal_curves"),
    script:
        RUN_JOBS


rule join_pixel_curves:
    input:
        shards=reads(
            files.all_shards(
                files.shard_of("results/{model}/faithfulness/{method}_pixels.h5")
            )
        ),
    output:
        curves="results/{model}/faithfulness/{method}_pixels.csv",
        correct_per_image="results/{model}/faithfulness/{method}_pixels.h5",
    log:
        "logs/join_pixel_curves/{model}/{method}.log",
    wildcard_constraints:
        model=one_of(IN_SHARDS),
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("join_pixel_curves"),
    script:
        RUN_JOBS


# Means over all images, which shards of head_effects and token_effects replace by.
rule cause_sums:
    input:
        pixels=reads(files.EVALUATION),
        weights=files.WEIGHTS,
    output:
        shard=temp(files.CAUSE_SUMS),
    log:
        "logs/cause_sums/{model}/{summed}/{shard}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("cause_sums", Gpu(minutes=60, mem_mb=16000)),
    params:
        jobs=jobs("cause_sums"),
    script:
        RUN_JOBS


rule head_means:
    input:
        shards=reads(files.all_shards(files.CAUSE_SUMS.replace("{summed}", "heads"))),
    output:
        means=temp(files.CAUSE_MEANS.replace("{summed}", "heads")),
    log:
        "logs/head_means/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("head_means"),
    script:
        RUN_JOBS


rule token_means:
    input:
        shards=reads(files.all_shards(files.CAUSE_SUMS.replace("{summed}", "tokens"))),
        layers=reads(files.LAYERS),
    output:
        means=temp(files.CAUSE_MEANS.replace("{summed}", "tokens")),
    log:
        "logs/token_means/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("token_means"),
    script:
        RUN_JOBS
