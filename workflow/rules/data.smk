"""Images and masks of data sets, decoded once."""


rule stimuli:
    input:
        raw=raw_images,
    output:
        table="results/datasets/{dataset}/stimuli.csv",
    params:
        job=job("stimuli"),
    log:
        "logs/stimuli/{dataset}.log",
    threads: 4
    conda:
        "../../envs/data.yaml"
    script:
        "../scripts/stimuli.py"


rule pixels:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
    output:
        pixels="results/datasets/{dataset}/{geometry}/{split}.h5",
    params:
        job=job("pixels"),
    log:
        "logs/pixels/{dataset}/{geometry}/{split}.log",
    threads: 8
    conda:
        "../../envs/data.yaml"
    script:
        "../scripts/pixels.py"


rule masks:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
        raw=raw_masks,
    output:
        masks="results/datasets/{dataset}/{geometry}/masks.h5",
    params:
        job=job("masks"),
    log:
        "logs/masks/{dataset}/{geometry}.log",
    threads: 8
    conda:
        "../../envs/data.yaml"
    script:
        "../scripts/masks.py"


rule token_labels:
    input:
        masks=pixel_file("masks"),
        stimuli=stimuli_file,
        raw=corner_masks,
    output:
        labels="results/{model}/token_labels.h5",
    params:
        job=job("token_labels"),
    log:
        "logs/token_labels/{model}.log",
    conda:
        "../../envs/data.yaml"
    script:
        "../scripts/token_labels.py"
