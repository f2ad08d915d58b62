"""Explanations, and how long a model stays right while tokens are removed in their order."""

for images in IMAGES:

    rule:
        name:
            images.rule("explanation")
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
        output:
            explanation=images.output("results/{model}/explanation/{method}.h5"),
        log:
            images.log("logs/explanation/{model}/{method}.log"),
        wildcard_constraints:
            model=one_of(images.models),
            method=one_of(COMPUTED),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(images.rule("explanation"), Gpu(minutes=240, mem_mb=16000)),
        params:
            jobs=jobs("explanation"),
        script:
            RUN_JOBS


# What heads, MLPs and the rest write into each image's logit.
for images in IMAGES:

    rule:
        name:
            images.rule("attribute_logits")
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
        output:
            attribution=images.output(files.ATTRIBUTION),
        log:
            images.log("logs/attribute_logits/{model}.log"),
        wildcard_constraints:
            model=one_of(images.models),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(
                images.rule("attribute_logits"), Gpu(minutes=240, mem_mb=16000)
            ),
        params:
            jobs=jobs("attribute_logits"),
        script:
            RUN_JOBS


rule random_explanation:
    input:
        pixels=reads(files.EVALUATION),
    output:
        explanation="results/{model}/explanation/random.h5",
    log:
        "logs/random_explanation/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("random_explanation"),
    script:
        RUN_JOBS


rule probe_explanation:
    input:
        probes=reads(files.RESIDUAL_PROBES),
    output:
        explanation="results/{model}/explanation/probe.h5",
    log:
        "logs/probe_explanation/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("probe_explanation"),
    script:
        RUN_JOBS


for images in IMAGES:

    rule:
        name:
            images.rule("remove_tokens")
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
            explanation=reads(files.importance),
        output:
            **(
                {"right": images.output("results/{model}/faithfulness/{method}.h5")}
                if images.in_shards
                else {
                    "curves": "results/{model}/faithfulness/{method}.csv",
                    "correct_per_image": "results/{model}/faithfulness/{method}.h5",
                }
            ),
        log:
            images.log("logs/remove_tokens/{model}/{method}.log"),
        wildcard_constraints:
            model=one_of(images.models),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(
                images.rule("remove_tokens"), Gpu(minutes=720, mem_mb=16000)
            ),
        params:
            jobs=(
                jobs("remove_tokens_shard")
                if images.in_shards
                else jobs("remove_tokens")
            ),
        script:
            RUN_JOBS


for images in IMAGES:

    rule:
        name:
            images.rule("remove_pixels")
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
            explanation=reads(files.importance),
        output:
            **(
                {
                    "right": images.output(
                        "results/{model}/faithfulness/{method}_pixels.h5"
                    )
                }
                if images.in_shards
                else {
                    "curves": "results/{model}/faithfulness/{method}_pixels.csv",
                    "correct_per_image": "results/{model}/faithfulness/{method}_pixels.h5",
                }
            ),
        log:
            images.log("logs/remove_pixels/{model}/{method}.log"),
        wildcard_constraints:
            model=one_of(images.models),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(
                images.rule("remove_pixels"), Gpu(minutes=240, mem_mb=16000)
            ),
        params:
            jobs=(
                jobs("remove_pixels_shard")
                if images.in_shards
                else jobs("remove_pixels")
            ),
        script:
            RUN_JOBS


# By the same model with its blocks reset, from the last to the first.
rule randomised_explanation:
    input:
        pixels=reads(files.EVALUATION),
        weights=files.WEIGHTS,
        control=reads(files.of_twin(files.WEIGHTS)),
    output:
        randomised="results/{model}/randomisation/{method}.h5",
    log:
        "logs/randomised_explanation/{model}/{method}.log",
    wildcard_constraints:
        method=one_of(COMPUTED),
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("randomised_explanation", Gpu(minutes=240, mem_mb=16000)),
    params:
        jobs=jobs("randomised_explanation"),
    script:
        RUN_JOBS


# A block at a time: its sites share forward passes that end behind it. Sums are too large to be kept in files.
rule linear_probe:
    input:
        training=reads(files.TRAINING),
        evaluation=reads(files.EVALUATION),
        weights=files.WEIGHTS,
    output:
        probes=[
            f"results/{{model}}/probes/{site}/block_{{block}}.h5"
            for site in CONFIG.probed_sites()
        ],
    log:
        "logs/linear_probe/{model}/{block}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("linear_probe", Gpu(minutes=720, mem_mb=32000)),
    params:
        jobs=jobs("linear_probe"),
    script:
        RUN_JOBS
