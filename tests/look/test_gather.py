"""What the page holds of a lens is what its views say."""

import json
import re

import numpy as np
import pytest
from made_pictures import make_pictures, make_tuned_lens, small_model

from classlens import Lens
from classlens.errors import InputError
from classlens.look import gather
from classlens.look.gather import Gathered, page_of, rank_step
from classlens.terms import SITES


@pytest.fixture
def pictures(tmp_path):
    return {path: path.name for path in make_pictures(tmp_path / "pictures")}


def undone(codes):
    """Codes of a chosen class, which are kept as differences to the block before, as numbers."""
    return np.cumsum(codes, axis=1, dtype=codes.dtype)


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}])
def test_every_number_is_the_views(pictures, options):
    lens = Lens(small_model(**options))
    view, found = lens(list(pictures)), Gathered(lens, "vit", pictures, ["legrad"])
    about, shown = found.about(4), list(found.images())
    own = view.predictions(1)[:, 0]
    assert [one["class"] for one in about["images"]] == own.tolist()
    assert [one["top5"] for one in about["images"]] == view.predictions(5).tolist()
    # All first classes come before any second one.
    assert set(about["chosen"][: len(set(own.tolist()))]) == set(own.tolist())
    assert len(set(about["chosen"])) == 30
    assert len(about["prefix"]) + np.prod(about["grid"]) == view.rank().shape[2]
    for image, arrays, photo in shown:
        assert photo.shape == (32, 32, 3)
        for place, site in enumerate(SITES):
            of_token = arrays["rank"][place], arrays["top5"][place], arrays["logit"][place]
            rank, top, logit = (values.swapaxes(0, 1) for values in of_token)
            assert np.array_equal(rank, view.rank(site)[:, image])
            assert np.array_equal(top, view.top(site=site)[:, image])
            unit = arrays["logit_unit"][place][:, None]
            assert (np.abs(logit * unit - view.logit(site)[:, image]) <= unit * 0.501).all()
        ranks, logits = undone(arrays["chosen_rank"]), undone(arrays["chosen_logit"])
        for place, index in enumerate(about["chosen"]):
            expected = view.rank(class_index=index)[:, image]
            assert (np.abs(ranks[place] * rank_step(300) - expected) <= rank_step(300) / 2).all()
            unit = arrays["chosen_unit"][place][:, None]
            expected = view.logit(class_index=index)[:, image]
            assert (np.abs(logits[place] * unit - expected) <= unit * 0.501).all()
        importance = view.explain(own, "legrad", image=None)[image].importance
        share = arrays["importance"][0] / np.abs(arrays["importance"][0]).max()
        assert np.allclose(share, importance / np.abs(importance).max(), atol=1e-3)


def test_a_tuned_lens_beside_the_logit_lens(pictures, tmp_path):
    model, folder = small_model(), make_tuned_lens(tmp_path / "tuned_lens", depth=3, width=24, classes=300)
    found, plain = Gathered(Lens(model), "vit", pictures, tuned=folder), Gathered(Lens(model), "vit", pictures)
    view = Lens(model, tuned=folder)(list(pictures))
    assert (view.rank() != Lens(model)(list(pictures)).rank()).any()
    for (image, arrays, _), (_, without, _) in zip(found.images(), plain.images(), strict=True):
        assert np.array_equal(arrays.pop("tuned_rank").T, view.rank()[:, image])
        assert np.array_equal(arrays.pop("tuned_top5").swapaxes(0, 1), view.top()[:, image])
        ranks = undone(arrays.pop("tuned_chosen_rank")) * rank_step(300)
        for place, index in enumerate(found.about(9)["chosen"]):
            assert np.abs(ranks[place] - view.rank(class_index=index)[:, image]).max() <= rank_step(300) / 2
        assert all(np.array_equal(arrays[name], without[name]) for name in without.keys() | arrays.keys())
    with pytest.raises(InputError, match="has 3 files of blocks, but the model has 2"):
        Gathered(Lens(small_model(depth=2)), "vit", {}, tuned=folder)


def test_few_classes_are_all_there_with_exact_ranks(pictures):
    lens = Lens(small_model(num_classes=7))
    found = Gathered(lens, "vit", pictures, class_of_interest=3)
    about = found.about(9)
    assert about["chosen"][0] == 3
    assert sorted(about["chosen"]) == list(range(7))
    assert [one["class"] for one in about["images"]] == [3] * 4
    assert (about["interest"], about["sample"]) == ("given", {"of": 9})
    view = lens(list(pictures))
    for image, arrays, _ in found.images():
        for place, index in enumerate(about["chosen"]):
            assert np.array_equal(undone(arrays["chosen_rank"])[place], view.rank(class_index=index)[:, image])


def test_memory_for_one_picture_gives_the_same(pictures, monkeypatch):
    lens = Lens(small_model())
    together = Gathered(lens, "vit", pictures)
    monkeypatch.setattr(gather, "KEPT_BYTES", 1)
    alone = Gathered(lens, "vit", pictures)
    assert alone.about(4) == together.about(4)
    pairs = zip(alone.images(), together.images(), strict=True)
    for (one, of_one, _), (other, of_other, _) in pairs:
        assert one == other
        assert (of_one["rank"] != of_other["rank"]).mean() < 0.01  # ties up to rounding


def test_the_page_describes_its_arrays(pictures):
    found = Gathered(Lens(small_model()), "a <b> model", pictures)
    page = page_of(found, 4)
    about = json.loads(re.search(r'id="about">(.*?)</script>', page)[1])
    assert about["label"] == "a <b> model"
    assert "<title>a &lt;b&gt; model" in page
    assert [one["name"] for one in about["arrays"]][:4] == ["rank", "top5", "logit", "logit_unit"]
    assert page.count('type="text/plain" id="photo-') == 4


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        ({"num_classes": 0}, {}, "the model has no head.*classlens attention"),
        ({}, {"class_of_interest": 300}, "300"),
        ({}, {"class_of_interest": "cat"}, "names of the model's classes are not known"),
        ({}, {"methods": ["magic"]}, "explanation 'magic' is unknown"),
        ({"class_token": False, "global_pool": "avg"}, {"methods": ["chefer"]}, "does not apply to vit"),
    ],
)
def test_what_cannot_be_shown_is_refused_before_a_picture_is_looked_at(options, given, message):
    with pytest.raises(InputError, match=message):
        Gathered(Lens(small_model(**options)), "vit", {}, **given)
