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
        job=job(
            "stimuli",
            "classlens.data.listing:list_stimuli",
            settings=["selection", "channels"],
            local=["raw_folders", "threads"],
            plugins=["source"],
            told=raw_told("images"),
        ),
    message:
        "List {params.job[told]}"
    script:
        RUN_JOB


rule groups:
    input:
        stimuli="results/datasets/{dataset}/stimuli.csv",
        table=reads(files.groups_table),
    output:
        groups="results/datasets/{dataset}/groups.csv",
    log:
        "logs/groups/{dataset}.log",
    conda:
        "../../envs/data.yaml"
    params:
        job=job(
            "groups",
            "classlens.data.groups:write_groups",
            settings=["attributes"],
            local=["raw_folders"],
            plugins=["source"],
            raw=lambda wildcards: files.groups_raw(CONFIG, wildcards),
        ),
    script:
        RUN_JOB


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
        job=job(
            "mask_list",
            "classlens.data.listing:list_masks",
            local=["raw_folders", "threads"],
            plugins=["source"],
            told=raw_told("masks"),
        ),
    message:
        "List {params.job[told]}"
    script:
        RUN_JOB


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
        job=job(
            "pixels",
            "classlens.data.pixels:write_pixels",
            settings=["geometry", "wildcards.split", "decoding"],
            local=["raw_folders", "threads"],
            plugins=["source"],
        ),
    script:
        RUN_JOB


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
        job=job(
            "pixels_part",
            "classlens.data.pixels:write_pixels",
            settings=["geometry", "wildcards.split", "part", "decoding"],
            local=["raw_folders", "threads"],
            plugins=["source"],
        ),
    script:
        RUN_JOB


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
        job=job("join_pixels", "classlens.data.join:join_pixels", settings=["wildcards.split"]),
    script:
        RUN_JOB


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
        job=job(
            "masks",
            "classlens.data.pixels:write_masks",
            settings=["geometry", "decoding"],
            local=["raw_folders", "threads"],
            plugins=["source"],
        ),
    script:
        RUN_JOB


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
        job=job(
            "token_labels",
            "classlens.data.labels:write_token_labels",
            settings=["token_grid", "labelling"],
            local=["raw_folders"],
            plugins=["source"],
            needs=["masks"],
        ),
    script:
        RUN_JOB
