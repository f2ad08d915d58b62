"""The jobs of the workflow by name, as the catalog and the rules declare them."""

import inspect
import re
from dataclasses import replace

from conftest import CHECKOUT

from classlens.catalog.analyses import PASSES
from classlens.catalog.job import Job
from classlens.catalog.plan import describe
from classlens.catalog.rules import rules_of
from classlens.declared import load


def explicit_rules():
    """The jobs of the rules that are written out: each with its inputs and outputs, by name."""
    found = {}

    def job(*declared, raw=None, told=None, **more):
        return Job(*declared, **more)

    for path in sorted((CHECKOUT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        for rule in re.findall(r"\nrule \w+:\n.*?RUN_JOB\n", text, re.DOTALL):
            name = re.search(r"^        job=(\w+)", rule, re.MULTILINE)[1]
            call = _call(text, f"{name} = job(") if name != "job" else _call(rule, "job=job(")
            one = eval(call, {"job": job, "raw_told": lambda kind: None})
            files = re.search(r"    input:\n(.*?)    log:", rule, re.DOTALL)[1]
            environment = re.search(r"envs/(\w+)\.yaml", rule)[1]
            names = re.findall(r"^        (\w+)=", files, re.MULTILINE)
            found[one.name] = (replace(one, environment=environment), names)
    return found


def _call(text, begin):
    """The call of `job` that begins so, to the bracket that ends it."""
    start = text.index(begin) + len(begin) - len("job(")
    depth = 0
    for place in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if text[place] == ")" and not depth:
            return text[start : place + 1]
    raise AssertionError(f"no end of {begin}")


def described(name, config, wildcards, root=CHECKOUT):
    """What travels in the params of a job's rule."""
    one, _ = explicit_rules().get(name) or next((job, None) for job in rules_of(config) if job.name == name)
    return describe(one, config, wildcards, root)


def files_of(record, folder):
    """The inputs of a recorded job and its outputs in a folder, as its function is given them."""
    suffixes = {path.rpartition(".")[0]: path for path in record.parts["outputs"]}
    outputs = {}
    for name in (output.name for output in record.outputs):
        key, _, index = name.partition("/")
        path = str(folder / suffixes[name])
        outputs[key] = [*outputs.get(key, []), path] if index else path
    parameters = inspect.signature(load(record.parts["functions"][""])).parameters
    read = PASSES[record.job].inputs if record.job in PASSES else {}

    def takes_list(name):
        """Tell whether it takes a list of files; a pass does where its declaration names several."""
        return callable(read.get(name)) or (name in parameters and "Sequence" in str(parameters[name].annotation))

    inputs = {name: paths if takes_list(name) else paths[0] for name, paths in record.sources.items()}
    return inputs, outputs
