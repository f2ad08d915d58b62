"""A job that repeats a text: small enough to look at what the store makes of it."""

import errno
from pathlib import Path

from classlens.store.job import Job

DOUBLE = """
def double(source, result, times):
    open(result, "w").write(open(source).read() * times)
"""


def job_of(root, times=2, source="source.txt", result="results/out.txt"):
    return Job(
        name="double",
        functions={"": "classlens.double:double"},
        root=root,
        config={"times": times},
        local={"threads": 1},
        inputs={"source": source},
        outputs={"result": result},
        wildcards={"name": result},
    )


def compute(inputs, outputs, config, local):
    content = Path(inputs["source"]).read_text() * config["times"]
    Path(outputs["result"]).write_text(content)
    return {"device": "abacus"}


def refuse(*_):
    raise AssertionError("this must come from the store")


def fail(*_, **__):
    raise OSError(errno.EXDEV, "another file system")
