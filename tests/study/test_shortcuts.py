"""What `classlens shortcuts` asks a run for, and says of its tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import TINY_MODEL, tiny_config
from typer.testing import CliRunner

from classlens import cli
from classlens.catalog import planning
from classlens.catalog.configs import load_config
from classlens.check.findings import check
from classlens.config.architecture import with_architectures
from classlens.errors import InputError
from classlens.study.shortcuts import answer, repaired_models, targets

GROUPS = """\
model,attribute,what,class_name,carries,images,accuracy,ci_low,ci_high
vit,place,group,auk,sea,40,0.9,0.8,1.0
vit,place,group,auk,land,12,0.25,0.1,0.5
vit,place,all,,,52,0.75,0.7,0.8
vit,place,worst,auk,land,12,0.25,0.1,0.5
vit,place,gap,,,52,0.5,0.3,0.6
"""
HEADS = """\
of,block,head,images,share,ci_low,ci_high,direct,context,class_tokens,p_value,p_corrected,significant,word
model,0,1,52,0.5,0.4,0.6,1,0.75,0.1,0.01,0.01,True,ocean
model,1,2,52,0.25,0.2,0.3,1,0.5,0.1,0.01,0.01,True,
model,1,0,52,0,0,0.1,1,0.5,0.1,1,1,False,
twin,1,1,52,0.125,0.1,0.2,1,0.5,0.1,0.01,0.01,True,
"""
REPAIR = """\
half,who,draw,heads,accuracy,worst_group,change,ci_low,ci_high,found
choosing,model,,,0.8,0.2,,,,
choosing,repaired,,0.1,0.8,0.7,0.5,0.4,0.6,{found}
choosing,random,1,1.1,0.8,0.2,0,0,0,
reporting,model,,,0.75,0.25,,,,
reporting,repaired,,{heads},0.74,0.65,0.4,{low},0.5,{found}
reporting,random,1,1.1,0.7,0.2,-0.05,-0.1,0,
reporting,random,2,1.0,0.7,0.28,0.03,-0.1,0.1,
"""


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("results/tables")
    folder.mkdir(parents=True)
    (folder / "group_accuracy.csv").write_text(GROUPS)
    (folder / "shortcut_heads_vit.csv").write_text(HEADS)
    return folder


def test_a_shortcut_that_is_found(tables):
    (tables / "repair_vit.csv").write_text(REPAIR.format(heads="0.1 1.2", low="0.3", found="True"))
    assert list(answer("vit", "place")) == [
        "vit: right on 75.0 % [70.0, 80.0] of 52 images",
        "  worst group: auk with place = land (12 images): 25.0 % [10.0, 50.0]; gap 50.0 % [30.0, 60.0]",
        "  heads: 2 of 3 go with place, most 1.2 50 % ('ocean', 75 % read from context), 2.3 25 % (50 % read from "
        "context), 2.1 0 % (50 % read from context)",
        "  of its random twin: 1 of 1 go with place, most 2.2 12 % (50 % read from context)",
        "  repair: without heads 1.2, 2.3, on the other half of the images:",
        "  worst group 25.0 % -> 65.0 % (+40.0 points [30.0, 50.0]), accuracy 75.0 % -> 74.0 %",
        "  as many random heads: worst group -1.0 points on average",
        "  weights: results/vit/repaired.safetensors",
    ]
    Path("results/lens").mkdir()
    Path("results/lens/vit.html").touch()
    assert list(answer("vit", "place"))[-1].endswith("one page: results/lens/vit.html#beside=vit-repaired")


def test_nothing_that_is_found(tables):
    (tables / "repair_vit.csv").write_text(REPAIR.format(heads="0.1", low="-0.1", found="False"))
    assert "so nothing was found: that interval does not lie above 0" in list(answer("vit", "place"))[-2]
    (tables / "repair_vit.csv").write_text(REPAIR.format(heads="", low="0", found="False"))
    (tables / "shortcut_heads_vit.csv").unlink()
    small = pd.read_csv(tables / "group_accuracy.csv")
    small.loc[small["what"] == "worst", "images"] = 0
    small.to_csv(tables / "group_accuracy.csv", index=False)
    said = list(answer("vit", "place"))
    assert said[1] == "  worst group: no group has ten images"
    assert said[2].startswith("  repair: nothing was found: no head's replacement helps the worst group")
    assert len(said) == 4


PATCHED = {"datasets": {"digits": {"kind": "patched_digits", "per_class": 4, "train_per_class": 2}}}


def config_of(**changes):
    vit = {**TINY_MODEL, "weights": {"train": {"epochs": 1}}, "analyses": ["repair"], **changes.pop("vit", {})}
    return {**tiny_config(vit=vit), **PATCHED, **changes}


def known_of(**changes):
    return with_architectures(load_config(config_of(**changes)))


def test_a_repaired_model_is_beside_its_own():
    known = known_of(lens_page={"images": 3})
    assert list(known.models) == ["vit", "vit-repaired"]
    assert known.architecture("vit-repaired") == known.architecture("vit")
    assert planning.runs(known, "repair") == ["vit"]
    assert planning.wanted_pages(known) == ["vit", "vit-repaired"]
    assert "vit-repaired" not in planning.overviewed_models(known)
    for change in ({"vit": {"analyses": ["group_accuracy"]}}, {"datasets": tiny_config()["datasets"]}):
        assert list(load_config(config_of(**change)).models) == ["vit"]
    own = config_of()["models"]["vit"]
    twins = load_config(config_of(models={"vit": own, "vit-random": {**own, "weights": "random"}}))
    assert list(twins.models) == ["vit", "vit-repaired", "vit-random"]
    with pytest.raises(InputError, match=r"models\.vit-repaired: the repaired vit is called so; rename"):
        load_config(config_of(models={"vit": own, "vit-repaired": {**TINY_MODEL}}))


def test_the_attribute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="let its `analyses` have group_accuracy and repair"):
        repaired_models(known_of(lens_page={"images": 3}))
    asked = {"vit": {"analyses": ["group_accuracy", "repair"]}}
    known = known_of(**asked, lens_page={"images": 3})
    models = repaired_models(known)
    assert models == {"vit": "patch"}
    assert targets(known, models)[-2:] == ["results/lens/vit.html", "results/lens/vit-repaired.html"]
    assert "results/tables/repair_vit.csv" in targets(known, models)
    assert not any("shortcut_heads" in one or "-random" in one for one in targets(known, models))
    assert not any("lens" in one for one in targets(known_of(**asked), models))
    Path("config.yaml").write_text(yaml.safe_dump(config_of(repair={"attribute": "place"})))
    problems = str(check("config.yaml", quick=True).problems)
    assert "no data set has 'place'; the config has patch" in problems
    Path("config.yaml").write_text(yaml.safe_dump(tiny_config()))
    refused = CliRunner().invoke(cli.app, ["shortcuts", "config.yaml"])
    assert refused.exit_code == 1
    assert "no model is asked for a shortcut; give its data set `groups`" in refused.output


def test_several_attributes_leave_the_choice_to_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {"datasets": {"digits": {**PATCHED["datasets"]["digits"], "groups": "groups.csv"}}}
    Path("groups.csv").write_text("image,place,hour\n")
    assert planning.runs(known_of(**given), "repair") == []
    assert planning.runs(known_of(**given, repair={"attribute": "hour"}), "repair") == ["vit"]
    Path("config.yaml").write_text(yaml.safe_dump(config_of(**given)))
    doubts = str(check("config.yaml", quick=True).doubts)
    assert "no attribute of datasets.digits is named as one (repair.attribute)" in doubts


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"kind": "digits", "group_by": ["class", "folder"]}, r"digits\.group_by: kind digits is arranged otherwise"),
        ({"kind": "digits", "patched": 0.5}, r"digits\.patched: kind digits"),
        ({"kind": "digits", "groups": {"attributes": ["x"]}}, r"digits\.groups: name the table"),
        ({"kind": "image_folder", "root": "x", "labels": {"split": "split"}}, "give `split` and what it has"),
        ({"kind": "digits", "groups": "none.csv"}, r"none\.csv cannot be read"),
        ({"kind": "image_folder", "root": "x", "labels": {"training": "0"}}, "give `split` and what it has"),
        (
            {"kind": "image_folder", "root": "x", "labels": {"split": "s", "evaluation": "a", "training": "a"}},
            "`evaluation` must say other images than `training`",
        ),
    ],
)
def test_what_is_wrong_with_groups(dataset, message):
    with pytest.raises(InputError, match=message):
        load_config(config_of(datasets={"digits": dataset}))
