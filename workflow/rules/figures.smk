"""Figures, each drawn from the table of its name."""

# Figure: one for all models, or (".._{model}") one for each; what it shows.
DRAWN = {
    "identifiability_evolution": ("", "all", "per block"),
    "identifiability_comparison": ("", "all", "normalised depth"),
    "logit_increment": ("", "all", "logit increment"),
    "class_building": ("_{model}", "{model}", "class building"),
    "class_vs_context": ("_{model}", "{model}", "class and context"),
}

for name, (suffix, shown, content) in DRAWN.items():

    rule:
        name:
            f"{name}_figure"
        input:
            table=f"results/tables/{name}{suffix}.csv",
        output:
            svg=report(
                f"results/figures/{name}{suffix}.svg",
                caption=f"../report/{name}.rst",
                category=CATEGORIES[ANALYSES[name]],
                labels={"model": shown, "content": f"figure: {content}"},
            ),
            png=f"results/figures/{name}{suffix}.png",
        log:
            f"logs/{name}_figure{suffix}.log",
        conda:
            "../../envs/figures.yaml"
        params:
            job=job(f"{name}_figure"),
        script:
            "../scripts/{params.job[name]}.py"  # read when the job runs, after the loop
