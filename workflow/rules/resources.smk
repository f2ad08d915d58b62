"""What GPU jobs ask of a scheduler: a result that the store has needs no GPU and next to no time."""

STORED = {"gpu": 0, "runtime": 5, "mem_mb": 1000}
# What a GPU is called on a cluster that does not know --gpus, e.g. "gpu:1".
GRES = os.environ.get("CLASSLENS_GRES")


def gpu_resources(gpu, described, outputs):
    """Return a GPU rule's resources: GPUs, minutes and MB of a job that computes; those of STORED where nothing is left to compute.

    Snakemake asks once more when a job's inputs are there. A job that ran out of time or memory gets more of it at its
    next attempt; that one is taken to compute, also where the store had the result a moment before.

    Args:
        gpu: what a job asks for at its first attempt.
        described: the rule's params function.
        outputs: its paths with wildcards, by name.
    """
    computing = {"gpu": 1, "runtime": gpu.minutes, "mem_mb": gpu.mem_mb}
    little = dict(STORED)
    if GRES:
        computing |= {"gpu": 0, "gres": GRES}
        little |= {"gres": ""}
    # The resources of one job are asked for one after the other: the question and answer before this one.
    latest = {}

    def has_result(wildcards, input):
        try:
            question = (dict(wildcards), [os.stat(path).st_mtime_ns for path in input])
        except FileNotFoundError:
            return False
        if latest.get("question") != question:
            filled = {
                key: (expand(paths, **wildcards) if isinstance(paths, list) else paths.format(**wildcards))
                for key, paths in outputs.items()
            }
            one, code = with_code(described(wildcards), input, filled)
            latest.update(question=question, answer=is_stored(one, Store(STORE), code))
        return latest["answer"]

    def amount(name):
        def ask(wildcards, input, attempt):
            if attempt == 1 and has_result(wildcards, input):
                return little[name]
            return computing[name] * (attempt if name in ("runtime", "mem_mb") else 1)

        return asked(ask)

    return {name: amount(name) for name in little}
