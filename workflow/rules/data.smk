"""Images and masks of data sets, decoded once."""


rule stimuli:
    input:
        raw=raw_images,
    output:
        table="results/datasets/{dataset}/stimuli.csv",
    log:
        "logs/stimuli/{dataset}.log",
    conda:
        "../../envs/data.yaml"
    threads: 4
    params:
        job=job("stimuli"),
    script:
        "../scripts/stimuli.py"


rule mask_list:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
        raw=raw_masks,
    output:
        table="results/datasets/{dataset}/masks.csv",
    log:
        "logs/mask_list/{dataset}.log",
    conda:
        "../../envs/data.yaml"
    threads: 4
    params:
        job=job("mask_list"),
    script:
        "../scripts/mask_list.py"


rule pixels:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
    output:
        pixels="results/datasets/{dataset}/{geometry}/{split}.h5",
    log:
        "logs/pixels/{dataset}/{geometry}/{split}.log",
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        job=job("pixels"),
    script:
        "../scripts/pixels.py"


rule masks:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
        digests="results/datasets/{dataset}/masks.csv",
    output:
        masks="results/datasets/{dataset}/{geometry}/masks.h5",
    log:
        "logs/masks/{dataset}/{geometry}.log",
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        job=job("masks"),
    script:
        "../scripts/masks.py"


rule token_labels:
    input:
        masks=pixel_file("masks"),
        stimuli=dataset_file("stimuli.csv"),
        digests=dataset_file("masks.csv"),
    output:
        labels="results/{model}/token_labels.h5",
    log:
        "logs/token_labels/{model}.log",
    conda:
        "../../envs/data.yaml"
    params:
        job=job("token_labels"),
    script:
        "../scripts/token_labels.py"
