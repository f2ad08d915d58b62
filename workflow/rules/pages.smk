"""Pages to look through a model in a browser."""

PAGE = workflow_folder() / "workflow/page"


# The sources of the page are inputs, so they are part of its key. Functions name them: braces in a checkout's path are no
# wildcard.
rule lens_page:
    input:
        layers=reads(files.LAYERS),
        output=files.OUTPUT,
        pixels=reads(files.EVALUATION),
        stimuli=reads(files.STIMULI),
        labels=reads(files.token_labels),
        explanations=reads(planning.page_explanations),
        tuned=reads(planning.page_tuned_lens),
        words=reads(planning.page_words),
        certificate=reads(files.certificate),
        template=lambda wildcards: str(PAGE / "page.html"),
        style=lambda wildcards: str(PAGE / "page.css"),
        scripts=lambda wildcards: sorted(map(str, PAGE.glob("*.js"))),
    output:
        page="results/lens/{model}.html",
    log:
        "logs/lens_page/{model}.log",
    group:
        "finish_{model}"
    conda:
        "../../envs/data.yaml"
    params:
        job=job(
            "lens_page",
            "classlens.page.write:write_lens_page",
            settings=["page"],
            raw=lambda wildcards: sorted(map(str, PAGE.iterdir())),
        ),
    script:
        RUN_JOB
