"""The tuned lens: an affine map of each block's output, and what is seen through it."""

# All blocks are fitted together, from the same forward passes.
for depth in DEPTHS:

    rule:
        name:
            f"fit_tuned_lens_{depth}"
        input:
            training=reads(files.TRAINING),
            evaluation=reads(files.EVALUATION),
            weights=files.WEIGHTS,
        output:
            maps=files.block_files("results/{model}/tuned_lens", depth),
        log:
            "logs/fit_tuned_lens/{model}.log",
        wildcard_constraints:
            model=models_where("depth", depth),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(f"fit_tuned_lens_{depth}", Gpu(minutes=240, mem_mb=16000)),
        params:
            jobs=jobs("fit_tuned_lens"),
        script:
            RUN_JOBS
