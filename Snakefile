# The workflow, for `snakemake` in this folder; as a module, take workflow/Snakefile (docs/module.md).
include: "workflow/Snakefile"


# Of an included file Snakemake does not take it over.
workflow.default_target = "all"
