"""classlens: look inside vision transformers through class embedding space."""

from snakemake.utils import min_version

min_version("9.27")

# A given config file replaces the default one; Snakemake would merge the two.
if "models" not in config:

    configfile: f"{workflow.basedir}/config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/extraction.smk"
include: "workflow/rules/perturbation.smk"
include: "workflow/rules/causes.smk"
include: "workflow/rules/tuned_lens.smk"
include: "workflow/rules/explanations.smk"
include: "workflow/rules/analyses.smk"
include: "workflow/rules/pages.smk"


# Not in dry runs, and in the main process alone.
onstart:
    keep_config(config, workflow.configfiles)
    note_run()
    warm_start()
    print(
        f"What jobs do, from another terminal: {watch_command()}", file=sys.stderr
    )


wildcard_constraints:
    dataset=one_of(CONFIG.datasets),
    model=one_of(CONFIG.models),
    split="training|evaluation",
    shard=r"\d+",
    site=one_of(SITES),
    method=one_of(METHODS),
    block=r"\d\d+",


rule all:
    default_target: True
    input:
        expand(
            "results/figures/{name}.{suffix}",
            name=wanted_figures(CONFIG),
            suffix=["svg", "png"],
        ),
        expand("results/tables/{name}.csv", name=wanted_tables(CONFIG)),
        expand("results/lens/{model}.html", model=wanted_pages(CONFIG)),
