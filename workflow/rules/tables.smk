"""Tables that put the measures of all models side by side."""

# Table: does it show random twins, what it holds.
COMPARISONS = {
    "identifiability_evolution": (False, "per block"),
    "identifiability_comparison": (True, "normalised depth"),
    "identifiability_rates": (True, "last block"),
    "logit_increment": (False, "logit increment"),
    "class_context_change": (False, "logit change"),
}

for name, (twins, content) in COMPARISONS.items():

    rule:
        name:
            f"{name}_table"
        input:
            measures=expand(
                f"results/{{model}}/measures/{name}.csv",
                model=CONFIG.models_with(ANALYSES[name], twins),
            ),
        output:
            table=report(
                f"results/tables/{name}.csv",
                caption=f"../report/{name}.rst",
                category=CATEGORIES[ANALYSES[name]],
                labels={"model": "all", "content": f"table: {content}"},
            ),
        log:
            f"logs/{name}_table.log",
        conda:
            "../../envs/analysis.yaml"
        params:
            job=job(f"{name}_table"),
        script:
            "../scripts/{params.job[name]}.py"  # read when the job runs, after the loop
