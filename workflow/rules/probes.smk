"""Linear probes: all blocks of a site in one job, since they share the forward passes."""

for depth in DEPTHS:

    rule:
        name:
            f"linear_probe_{depth}"
        input:
            training=pixel_file("training"),
            evaluation=pixel_file("evaluation"),
            weights="results/{model}/weights.safetensors",
        output:
            probes=[
                f"results/{{model}}/probes/{{site}}/block_{block:02d}.h5"
                for block in CONFIG.probed_blocks(depth)
            ],
        log:
            "logs/linear_probe/{model}/{site}.log",
        wildcard_constraints:
            model=one_of(models_of_depth(depth)),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **unless_stored(f"linear_probe_{depth}", gpu=1, runtime=720, mem_mb=32000),
        params:
            job=job("linear_probe"),
        script:
            "../scripts/linear_probe.py"


rule linear_probes:
    input:
        probes=probe_files,
        layers=layer_files,
    output:
        table=report(
            "results/tables/linear_probes_{model}.csv",
            caption="../report/linear_probes.rst",
            category=CATEGORIES["linear_probes"],
            labels={"model": "{model}", "content": "table"},
        ),
    log:
        "logs/linear_probes/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("linear_probes"),
    script:
        "../scripts/linear_probes.py"


rule probe_explanation:
    input:
        probes=lambda wildcards: block_files(
            f"results/{wildcards.model}/probes/residual",
            CONFIG.card(wildcards.model)["depth"],
        ),
    output:
        explanation="results/{model}/explanation/probe.h5",
    log:
        "logs/probe_explanation/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("probe_explanation"),
    script:
        "../scripts/probe_explanation.py"
