"""docs/cluster.md lists the rules that ask for a GPU."""

import re

from conftest import CHECKOUT

from classlens.catalog.analyses import ANALYSES, JOBS, PASSES


def test_the_gpu_rules_are_those_that_are_declared():
    text = (CHECKOUT / "docs/cluster.md").read_text()
    listed = re.findall(r"`(\w+)`", text.partition("**GPU rules** are ")[2].partition("rules of shards")[0])
    declared = [name for name, one in {**JOBS, **ANALYSES}.items() if one.gpu]
    assert sorted(listed) == sorted(["train", *PASSES, *declared])
