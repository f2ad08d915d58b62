"""What is left of a model when attention is restricted or tokens are taken out."""

for has_class_token in (True, False):
    name = "perturb_attention" if has_class_token else "perturb_attention_without_cls"
    kinds = applicable_attention_kinds(has_class_token=has_class_token)

    rule:
        name:
            name
        input:
            pixels=pixel_file("evaluation"),
            weights="results/{model}/weights.safetensors",
        output:
            **{
                kind: f"results/{{model}}/perturbation/attention_{kind}.h5"
                for kind in kinds
            },
        log:
            [f"logs/perturb_attention/{{model}}/{kind}.log" for kind in kinds],
        wildcard_constraints:
            model=one_of(models_with_class_token(has_class_token)),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **unless_stored(
                name,
                gpu=1,
                runtime=240,
                mem_mb=16000,
            ),
        params:
            jobs=batch(
                *(
                    part(
                        "perturb_attention",
                        inputs=["pixels", "weights"],
                        outputs={"perturbed": kind},
                        kind=kind,
                    )
                    for kind in kinds
                )
            ),
        script:
            "../scripts/_batch.py"


# Asked for by name: says why there is no such file.
rule refused_perturbation:
    input:
        lambda wildcards: told(
            require_attention_kind,
            wildcards.kind,
            wildcards.model,
            has_class_token=False,
        ),
    output:
        "results/{model}/perturbation/attention_{kind}.h5",
    wildcard_constraints:
        model=one_of(models_with_class_token(False)),
        kind=one_of(
            set(ATTENTION_KINDS)
            - set(applicable_attention_kinds(has_class_token=False))
        ),


rule perturb_tokens:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
        labels="results/{model}/token_labels.h5",
    output:
        **{
            kind: f"results/{{model}}/perturbation/tokens_{kind}.h5"
            for kind in TOKEN_KINDS
        },
    log:
        [f"logs/perturb_tokens/{{model}}/{kind}.log" for kind in TOKEN_KINDS],
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        **unless_stored("perturb_tokens", gpu=1, runtime=240, mem_mb=16000),
    params:
        jobs=batch(
            *(
                part(
                    "perturb_tokens",
                    inputs=["pixels", "weights", "labels"],
                    outputs={"perturbed": kind},
                    kind=kind,
                )
                for kind in TOKEN_KINDS
            )
        ),
    script:
        "../scripts/_batch.py"


rule attention_perturbation:
    input:
        last_layer=last_layer_file,
        output="results/{model}/output.h5",
        perturbed=attention_perturbation_files,
    output:
        table="results/{model}/measures/attention_perturbation.csv",
    log:
        "logs/attention_perturbation/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("attention_perturbation"),
    script:
        "../scripts/attention_perturbation.py"


rule token_perturbation:
    input:
        last_layer=last_layer_file,
        output="results/{model}/output.h5",
        labels="results/{model}/token_labels.h5",
        perturbed=expand(
            "results/{{model}}/perturbation/tokens_{kind}.h5", kind=TOKEN_KINDS
        ),
    output:
        table="results/{model}/measures/token_perturbation.csv",
    log:
        "logs/token_perturbation/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("token_perturbation"),
    script:
        "../scripts/token_perturbation.py"
