"""What is left of a model when attention is restricted or tokens are taken out."""

from itertools import product

for has_class_token, images in product((True, False), IMAGES):
    rule_name = images.rule(
        "perturb_attention" if has_class_token else "perturb_attention_without_cls"
    )
    kinds = applicable_attention_kinds(has_class_token=has_class_token)

    rule:
        name:
            rule_name
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
        output:
            **{
                kind: images.output(
                    f"results/{{model}}/perturbation/attention_{kind}.h5"
                )
                for kind in kinds
            },
        log:
            [
                images.log(f"logs/perturb_attention/{{model}}/{kind}.log")
                for kind in kinds
            ],
        wildcard_constraints:
            model=models_where("has_class_token", has_class_token, images.models),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(rule_name, Gpu(minutes=240, mem_mb=16000)),
        params:
            jobs=batch(
                "perturb_attention",
                ["pixels", "weights"],
                **{kind: ("perturbed", {"kind": kind}) for kind in kinds},
            ),
        script:
            RUN_JOBS


# Asked for by name: says why there is no such file.
rule refused_perturbation:
    input:
        lambda wildcards: as_workflow_error(
            require_attention_kind,
            wildcards.kind,
            wildcards.model,
            has_class_token=False,
        ),
    output:
        "results/{model}/perturbation/attention_{kind}.h5",
    wildcard_constraints:
        model=models_where("has_class_token", False),
        kind=one_of(
            set(ATTENTION_KINDS)
            - set(applicable_attention_kinds(has_class_token=False))
        ),


for images in IMAGES:

    rule:
        name:
            images.rule("perturb_tokens")
        input:
            pixels=reads(files.EVALUATION),
            weights=files.WEIGHTS,
            labels=files.TOKEN_LABELS,
        output:
            **dict(zip(TOKEN_KINDS, map(images.output, files.TOKEN_PERTURBATIONS))),
        log:
            [
                images.log(f"logs/perturb_tokens/{{model}}/{kind}.log")
                for kind in TOKEN_KINDS
            ],
        wildcard_constraints:
            model=one_of(images.models),
        conda:
            "../../envs/torch.yaml"
        threads: CONFIG.extraction["threads"]
        resources:
            **gpu_resources(
                images.rule("perturb_tokens"), Gpu(minutes=240, mem_mb=16000)
            ),
        params:
            jobs=batch(
                "perturb_tokens",
                ["pixels", "weights", "labels"],
                **{kind: ("perturbed", {"kind": kind}) for kind in TOKEN_KINDS},
            ),
        script:
            RUN_JOBS
