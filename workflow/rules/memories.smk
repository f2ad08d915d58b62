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
        memories="results/{model}/memories/{branch}/block_{block}.h5",
    log:
        "logs/block_memories/{model}/{branch}/{block}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("block_memories"),
    script:
        "../scripts/block_memories.py"


rule class_value_agreement:
    input:
        parameters="results/{model}/memories/parameters.h5",
        twin=lambda wildcards: twin_files(
            wildcards, "results/{model}/memories/parameters.h5"
        ),
    output:
        table="results/{model}/measures/class_value_agreement.csv",
    log:
        "logs/class_value_agreement/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("class_value_agreement"),
    script:
        "../scripts/class_value_agreement.py"


rule key_value_agreement:
    input:
        attn=memory_files("attn"),
        mlp=memory_files("mlp"),
        output="results/{model}/output.h5",
    output:
        classes="results/{model}/measures/key_value_agreement_classes.csv",
        table="results/{model}/measures/key_value_agreement.csv",
    log:
        "logs/key_value_agreement/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("key_value_agreement"),
    script:
        "../scripts/key_value_agreement.py"


rule memory_comparison:
    input:
        parameters="results/{model}/memories/parameters.h5",
        attn=memory_files("attn"),
        mlp=memory_files("mlp"),
        output="results/{model}/output.h5",
    output:
        table="results/{model}/measures/memory_comparison.csv",
    log:
        "logs/memory_comparison/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("memory_comparison"),
    script:
        "../scripts/memory_comparison.py"


rule memory_composition:
    input:
        attn=memory_files("attn"),
        mlp=memory_files("mlp"),
    output:
        table="results/{model}/measures/memory_composition.csv",
    log:
        "logs/memory_composition/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("memory_composition"),
    script:
        "../scripts/memory_composition.py"


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


rule value_vectors:
    input:
        parameters="results/{model}/memories/parameters.h5",
        stimuli=stimuli_file,
        head=head_source,
    output:
        table="results/{model}/measures/value_vectors.csv",
    log:
        "logs/value_vectors/{model}.log",
    conda:
        "../../envs/analysis.yaml"
    params:
        job=job("value_vectors"),
    script:
        "../scripts/value_vectors.py"
