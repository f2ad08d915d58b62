"""From images to layer files. The number of outputs differs with depth, so each depth has its rules."""

for depth in DEPTHS:

    rule:
        name:
            f"extract_{depth}"
        input:
            pixels=pixel_file("evaluation"),
            weights="results/{model}/weights.safetensors",
        output:
            layers=temp(block_files("results/{model}/shards/{shard}", depth)),
            output=temp("results/{model}/shards/{shard}/output.h5"),
        log:
            "logs/extract/{model}/{shard}.log",
        wildcard_constraints:
            model=one_of(models_of_depth(depth)),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **unless_stored(f"extract_{depth}", gpu=1, runtime=60, mem_mb=16000),
        params:
            job=job("extract"),
        script:
            "../scripts/extract.py"

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
        params:
            job=job("gather"),
        script:
            "../scripts/gather.py"
