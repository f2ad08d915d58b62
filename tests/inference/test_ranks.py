"""What is kept of logits."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.inference.ranks import faults, rank_of, strongest_keys, summarise


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(-3, 3), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(0, 5))
def test_rank_counts_strictly_larger_logits(rows, correct):
    """Ties do not count; the sort that this replaces would place them arbitrarily."""
    logits = torch.tensor(rows, dtype=torch.float32)
    expected = [sum(other > row[correct] for other in row) for row in rows]
    assert rank_of(logits, logits[:, correct : correct + 1]).tolist() == expected


def test_summary_keeps_the_largest_first():
    logits = torch.tensor([[[0.0, 3.0, 1.0, 2.0, -1.0, 5.0, 4.0]]])
    summary = summarise(logits, torch.tensor([3]))
    assert (summary["largest"].tolist(), summary["smallest"].tolist()) == ([[5.0]], [[1.0]])
    assert summary["top5"].tolist() == [[[5, 6, 1, 3, 2]]]
    assert summary["rank"].tolist() == [[3]]
    assert summary["logit"].tolist() == [[2.0]]
    assert strongest_keys(logits)[0, 0, 0] == 5


@pytest.mark.parametrize("num_classes", [2, 5, 6, 9])
def test_what_a_summary_keeps_tells_the_same_faults(num_classes):
    classes = torch.tensor([1])
    rising = torch.arange(num_classes, dtype=torch.float32).expand(1, 3, -1).clone()
    # At every token the five largest are equal, yet not all are.
    tied = rising.clamp(min=1.0, max=1.0 if num_classes < 6 else 4.0).flip(-1)
    flat = torch.ones(1, 3, num_classes)
    mixed = flat.clone()
    mixed[0, 2, 0] = 0
    nan, infinite, largest, unseen = (rising.clone() for _ in range(4))
    nan[0, 1, 0], infinite[0, 1, 1] = float("nan"), float("-inf")
    largest[0, 1, 1], unseen[0, 1, 0] = float("inf"), float("-inf")
    for logits, expected in (
        (rising, [False, False]),
        (tied, [False, num_classes < 6]),
        (flat, [False, True]),
        (mixed, [False, False]),
        (nan, [True, False]),
        (infinite, [True, False]),
        (largest, [True, False]),
        (unseen, [num_classes <= 5, False]),
    ):
        summary = summarise(logits, classes)
        assert faults(summary["largest"], summary["smallest"], num_classes).tolist() == expected
    # A score is the only one, and so equal to all.
    assert faults(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2), 1).tolist() == 3 * [[False, False]]


@pytest.mark.parametrize("width", [3, 5, 6, 24, 63, 64, 127, 128, 129, 256, 300, 320, 400])
@pytest.mark.parametrize("kind", ["spread", "tied", "nan", "infinite"])
def test_strongest_keys_are_those_of_topk(width, kind):
    """A faster way stands in for torch.topk, which has the last word where values are equal."""
    values = torch.randn(4, 7, width, generator=torch.Generator().manual_seed(width))
    if kind == "tied":
        values = (2 * values).round()
    elif kind == "nan":
        values[0, 0, 0] = values[3, 6, 2] = float("nan")
    elif kind == "infinite":
        values[1, :, 1], values[2, :, 2] = float("inf"), float("-inf")
    top = min(5, width)
    assert torch.equal(strongest_keys(values), values.topk(top, dim=-1).indices)
    transposed = values.transpose(0, 1)
    assert torch.equal(strongest_keys(transposed), transposed.topk(top, dim=-1).indices)


def test_one_tie_among_many_rows_is_noticed():
    """Not only a tie on the border of the five, but one within them, or between folded columns."""
    generator = torch.Generator().manual_seed(0)
    for first, second in ((0, 1), (3, 4), (4, 5), (0, 5)):
        values = torch.randn(1, 50, 256, generator=generator)
        order = values[0, 17].argsort(descending=True)
        values[0, 17, order[second]] = values[0, 17, order[first]]
        assert torch.equal(strongest_keys(values), values.topk(5, dim=-1).indices)
