"""What is kept of logits."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.inference.ranks import faults, rank_of, strongest_keys, summarise


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.integers(-3, 3), min_size=6, max_size=6),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 5),
)
def test_rank_counts_strictly_larger_logits(rows, correct):
    """Ties do not count; the sort that this replaces would place them arbitrarily."""
    logits = torch.tensor(rows, dtype=torch.float32)
    expected = [sum(other > row[correct] for other in row) for row in rows]
    assert rank_of(logits, logits[:, correct : correct + 1]).tolist() == expected


def test_summary_keeps_the_largest_first():
    logits = torch.tensor([[[0.0, 3.0, 1.0, 2.0, -1.0, 5.0, 4.0]]])
    summary = summarise(logits, torch.tensor([3]))
    assert summary["top5"].tolist() == [[[5, 6, 1, 3, 2]]]
    assert summary["rank"].tolist() == [[3]]
    assert summary["logit"].tolist() == [[2.0]]
    assert strongest_keys(logits)[0, 0, 0] == 5


def test_faults_see_every_kind_of_broken_logit():
    fine = torch.tensor([[[0.0, 1.0], [1.0, 1.0]]])
    for logits, expected in (
        (fine, [False, False]),
        (torch.zeros(1, 2, 2), [False, True]),
        (fine + torch.tensor([0.0, float("-inf")]), [True, False]),
        (fine + torch.tensor([0.0, float("inf")]), [True, False]),
        (fine * float("nan"), [True, False]),
    ):
        assert faults(logits, logits.topk(1, dim=-1).values[..., 0]).tolist() == expected
