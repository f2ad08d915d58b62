"""What is left of a model when attention is restricted or tokens are taken out."""


rule perturb_attention:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
    output:
        perturbed="results/{model}/perturbation/attention_{kind}.h5",
    log:
        "logs/perturb_attention/{model}/{kind}.log",
    wildcard_constraints:
        kind=one_of(ATTENTION_KINDS),
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        gpu=1,
    params:
        job=job("perturb_attention"),
    script:
        "../scripts/perturb_attention.py"


rule perturb_tokens:
    input:
        pixels=pixel_file("evaluation"),
        weights="results/{model}/weights.safetensors",
        labels="results/{model}/token_labels.h5",
    output:
        perturbed="results/{model}/perturbation/tokens_{kind}.h5",
    log:
        "logs/perturb_tokens/{model}/{kind}.log",
    wildcard_constraints:
        kind=one_of(TOKEN_KINDS),
    conda:
        "../../envs/torch.yaml"
    threads: CONFIG.extraction["threads"]
    resources:
        gpu=1,
    params:
        job=job("perturb_tokens"),
    script:
        "../scripts/perturb_tokens.py"


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
