"""Key-value memories: what the weights say, what tokens call up, and the measures of one model."""


rule memory_parameters:
    input:
        weights="results/{model}/weights.safetensors",
    output:
        parameters="results/{model}/memories/parameters.h5",
    log:
        "logs/memory_parameters/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("memory_parameters"),
    script:
        "../scripts/memory_parameters.py"


rule block_memories:
    input:
        layer="results/{model}/layers/block_{block}.h5",
        output="results/{model}/output.h5",
        parameters="results/{model}/memories/parameters.h5",
    output:
        attn="results/{model}/memories/attn/block_{block}.h5",
        mlp="results/{model}/memories/mlp/block_{block}.h5",
    log:
        "logs/block_memories/{model}/attn/{block}.log",
        "logs/block_memories/{model}/mlp/{block}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            *(
                part(
                    "block_memories",
                    inputs=["layer", "output", "parameters"],
                    outputs={"memories": branch},
                    branch=branch,
                )
                for branch in BRANCHES
            )
        ),
    script:
        "../scripts/_batch.py"


rule parameter_tables:
    input:
        parameters="results/{model}/memories/parameters.h5",
        twin=lambda wildcards: twin_files(
            wildcards, "results/{model}/memories/parameters.h5"
        ),
        stimuli=dataset_file("stimuli.csv"),
        head=head_source,
    output:
        agreement="results/{model}/measures/class_value_agreement.csv",
        vectors="results/{model}/measures/value_vectors.csv",
    log:
        "logs/class_value_agreement/{model}.log",
        "logs/value_vectors/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            part(
                "class_value_agreement",
                inputs=["parameters", "twin"],
                outputs={"table": "agreement"},
            ),
            part(
                "value_vectors",
                inputs=["parameters", "stimuli", "head"],
                outputs={"table": "vectors"},
            ),
        ),
    script:
        "../scripts/_batch.py"


rule memory_tables:
    input:
        parameters="results/{model}/memories/parameters.h5",
        attn=memory_files("attn"),
        mlp=memory_files("mlp"),
        output="results/{model}/output.h5",
    output:
        agreement_classes="results/{model}/measures/key_value_agreement_classes.csv",
        agreement="results/{model}/measures/key_value_agreement.csv",
        comparison="results/{model}/measures/memory_comparison.csv",
        composition="results/{model}/measures/memory_composition.csv",
    log:
        "logs/key_value_agreement/{model}.log",
        "logs/memory_comparison/{model}.log",
        "logs/memory_composition/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        jobs=batch(
            part(
                "key_value_agreement",
                inputs=["attn", "mlp", "output"],
                outputs={"classes": "agreement_classes", "table": "agreement"},
            ),
            part(
                "memory_comparison",
                inputs=["parameters", "attn", "mlp", "output"],
                outputs={"table": "comparison"},
            ),
            part(
                "memory_composition",
                inputs=["attn", "mlp"],
                outputs={"table": "composition"},
            ),
        ),
    script:
        "../scripts/_batch.py"


rule agreement_vs_accuracy:
    input:
        attn=memory_files("attn"),
        mlp=memory_files("mlp"),
        output="results/{model}/output.h5",
    output:
        table="results/{model}/measures/agreement_vs_accuracy.csv",
    log:
        "logs/agreement_vs_accuracy/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("agreement_vs_accuracy"),
    script:
        "../scripts/agreement_vs_accuracy.py"
