"""Images and masks of data sets, decoded once."""

PACKED = [name for name in CONFIG.datasets if CONFIG.packed(name)]


rule stimuli:
    input:
        raw=raw_manifest("images"),
    output:
        table="results/datasets/{dataset}/stimuli.csv",
    log:
        "logs/stimuli/{dataset}.log",
    conda:
        "../../envs/data.yaml"
    threads: 4
    params:
        jobs=raw_job("stimuli", "images"),
    message:
        "List {params.jobs[0][told]}"
    script:
        RUN_JOBS


rule mask_list:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
        raw=raw_manifest("masks"),
    output:
        table="results/datasets/{dataset}/masks.csv",
    log:
        "logs/mask_list/{dataset}.log",
    conda:
        "../../envs/data.yaml"
    threads: 4
    params:
        jobs=raw_job("mask_list", "masks"),
    message:
        "List {params.jobs[0][told]}"
    script:
        RUN_JOBS


rule pixels:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
    output:
        pixels="results/datasets/{dataset}/{geometry}/{split}.h5",
    log:
        "logs/pixels/{dataset}/{geometry}/{split}.log",
    wildcard_constraints:
        dataset=one_of(name for name in CONFIG.datasets if name not in PACKED),
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        jobs=jobs("pixels"),
    script:
        RUN_JOBS


# Packed images are decoded in the order in which they are stored, and brought into that of the classes afterwards.
rule pixels_part:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
    output:
        pixels=temp("results/datasets/{dataset}/{geometry}/parts/{split}_{part}.h5"),
    log:
        "logs/pixels/{dataset}/{geometry}/{split}_{part}.log",
    wildcard_constraints:
        dataset=one_of(PACKED),
    conda:
        "../../envs/data.yaml"
    threads: 8
    params:
        jobs=jobs("pixels_part"),
    script:
        RUN_JOBS


rule join_pixels:
    input:
        parts=reads(files.parts),
        stimuli="results/datasets/{dataset}/stimuli.csv",
    output:
        pixels="results/datasets/{dataset}/{geometry}/{split}.h5",
    log:
        "logs/pixels/{dataset}/{geometry}/{split}.log",
    wildcard_constraints:
        dataset=one_of(PACKED),
    conda:
        "../../envs/data.yaml"
    params:
        jobs=jobs("join_pixels"),
    script:
        RUN_JOBS


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
        jobs=jobs("masks"),
    script:
        RUN_JOBS


rule token_labels:
    input:
        masks=reads(files.PIXEL_MASKS),
        stimuli=reads(files.STIMULI),
        digests=reads(files.MASK_LIST),
    output:
        labels=files.TOKEN_LABELS,
    log:
        "logs/token_labels/{model}.log",
    conda:
        "../../envs/data.yaml"
    params:
        jobs=jobs("token_labels"),
    script:
        RUN_JOBS
