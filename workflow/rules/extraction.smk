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
        params:
            job=job("extract"),
        wildcard_constraints:
            model=one_of(models_of_depth(depth)),
        log:
            "logs/extract/{model}/{shard}.log",
        threads: CONFIG.extraction["threads"]
        resources:
            gpu=1,
        conda:
            "../../envs/torch.yaml"
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
        params:
            job=job("gather"),
        wildcard_constraints:
            model=one_of(models_of_depth(depth)),
        log:
            "logs/gather/{model}.log",
        conda:
            "../../envs/data.yaml"
        script:
            "../scripts/gather.py"
