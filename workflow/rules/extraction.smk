"""From images to layer files, and what every measure of a model begins with."""


rule extract:
    input:
        pixels=reads(files.EVALUATION),
        weights=files.WEIGHTS,
    output:
        shard=temp(files.EXTRACTED),
    log:
        "logs/extract/{model}/{shard}.log",
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **gpu_resources("extract", Gpu(minutes=60, mem_mb=16000)),
    params:
        jobs=jobs("extract"),
    script:
        RUN_JOBS


# The number of layer files differs with depth, so each depth has its rule.
for depth in DEPTHS:

    rule:
        name:
            f"gather_{depth}"
        input:
            shards=reads(files.all_shards(files.EXTRACTED)),
        output:
            layers=files.block_files("results/{model}/layers", depth),
            output=files.OUTPUT,
        log:
            "logs/gather/{model}.log",
        wildcard_constraints:
            model=models_where("depth", depth),
        conda:
            "../../envs/data.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            runtime=lambda wildcards, attempt: 60 * attempt,
        params:
            jobs=jobs("gather"),
        script:
            RUN_JOBS


rule identifiability:
    input:
        layers=reads(files.LAYERS),
        output=files.OUTPUT,
    output:
        measures=files.MEASURED_IDENTIFIABILITY,
    log:
        "logs/identifiability/{model}.log",
    group:
        "layers_{model}"
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("identifiability"),
    script:
        RUN_JOBS


rule memory_parameters:
    input:
        weights=files.WEIGHTS,
    output:
        parameters=files.MEMORY_PARAMETERS,
    log:
        "logs/memory_parameters/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=jobs("memory_parameters"),
    script:
        RUN_JOBS


rule block_memories:
    input:
        layer="results/{model}/layers/block_{block}.h5",
        output=files.OUTPUT,
        parameters=files.MEMORY_PARAMETERS,
    output:
        **{
            branch: f"results/{{model}}/memories/{branch}/block_{{block}}.h5"
            for branch in BRANCHES
        },
    log:
        [f"logs/block_memories/{{model}}/{branch}/{{block}}.log" for branch in BRANCHES],
    group:
        "memories_{model}"
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            "block_memories",
            ["layer", "output", "parameters"],
            **{branch: ("memories", {"branch": branch}) for branch in BRANCHES},
        ),
    script:
        RUN_JOBS
