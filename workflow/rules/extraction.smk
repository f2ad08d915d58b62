"""From images to layer files."""


rule extract:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
    output:
        shard=temp("results/{model}/shards/{shard}.h5"),
    log:
        "logs/extract/{model}/{shard}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("extract", gpu=1, runtime=60, mem_mb=16000),
    params:
        job=job("extract"),
    script:
        "../scripts/extract.py"


# The number of layer files differs with depth, so each depth has its rule.
for depth in DEPTHS:

    rule:
        name:
            f"gather_{depth}"
        input:
            shards=shard_files,
        output:
            layers=block_files("results/{model}/layers", depth),
            output="results/{model}/output.h5",
        log:
            "logs/gather/{model}.log",
        wildcard_constraints:
            model=one_of(models_of_depth(depth)),
        conda:
            "../../envs/data.yaml"
        # A million images take hours to compress.
        resources:
            runtime=lambda wildcards, attempt: 240 * attempt,
        params:
            job=job("gather"),
        script:
            "../scripts/gather.py"
