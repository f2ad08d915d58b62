"""What changes in the model's answer when heads or tokens are replaced by their mean over images."""

for images in IMAGES:

    rule:
        name:
            images.rule("head_effects")
        input:
            **images.means("heads"),
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
            attribution=files.ATTRIBUTION,
        output:
            effects=images.output(files.HEAD_EFFECTS),
        log:
            images.log("logs/head_effects/{model}.log"),
        wildcard_constraints:
            model=one_of(images.models),
        # Before others: they take longest of all that wait for a model's weights, and tables and figures wait for them.
        priority: 1
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(images.rule("head_effects"), Gpu(minutes=720, mem_mb=16000)),
        params:
            jobs=jobs("head_effects"),
        script:
            RUN_JOBS


for images in IMAGES:

    rule:
        name:
            images.rule("token_effects")
        input:
            **images.means("tokens"),
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
            layers=reads(files.LAYERS),
            labels=reads(files.token_labels),
        output:
            effects=images.output(files.TOKEN_EFFECTS),
        log:
            images.log("logs/token_effects/{model}.log"),
        wildcard_constraints:
            model=one_of(images.models),
        priority: 1
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(
                images.rule("token_effects"), Gpu(minutes=720, mem_mb=16000)
            ),
        params:
            jobs=jobs("token_effects"),
        script:
            RUN_JOBS
