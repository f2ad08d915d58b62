"""Passes over images, measures, tables and figures: a rule for every declaration in classlens/catalog."""


def output_of(one):
    """Return the outputs of a declared job as Snakemake takes them."""
    content = one.reported.content if one.reported else {}
    model = "{model}" if "model" in wildcards_of(one) else "all"
    return {
        key: (
            reported(path, one.reported.section, content[key], model)
            if key in content
            else temp(path) if one.temporary else path
        )
        for key, path in one.outputs.items()
    }


def resources_of(one, described):
    """Return what a declared job asks of a scheduler."""
    if one.gpu:
        return gpu_resources(one.gpu, described, one.outputs)
    if one.minutes:
        return {"runtime": lambda wildcards, attempt: one.minutes * attempt}
    return {}


for one in RULES:
    named = {"model": one.models, **one.wildcards}
    described = params_of(one)

    rule:
        name:
            one.rule
        input:
            **{key: reads(name) for key, name in one.inputs.items()},
        output:
            **output_of(one),
        log:
            f"{Path('logs', one.name, *map('{{{}}}'.format, wildcards_of(one)))}.log",
        wildcard_constraints:
            **{key: one_of(names) for key, names in named.items() if names is not None},
        priority: one.priority
        group:
            one.group or None
        conda:
            f"../../envs/{one.environment}.yaml"
        threads: CONFIG.extraction["threads"] if one.gpu or "threads" in one.local else 1
        resources:
            **resources_of(one, described),
        params:
            job=described,
        script:
            RUN_JOB
