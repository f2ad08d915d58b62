"""What people call the parts of a data set that are for evaluation and for training."""

from __future__ import annotations

from collections.abc import Iterable

WORDS = {"evaluation": ("validation", "val", "valid", "eval", "test", "testing"), "training": ("train", "training")}
"""By split, the first one that is there; upper and lower case are one."""
SPLIT_WORDS = frozenset(word for words in WORDS.values() for word in words)


def find_splits(names: Iterable[str]) -> dict[str, str]:
    """Return which of some names stands for each split, where one does."""
    spelled: dict[str, str] = {}
    for name in sorted(names, key=lambda name: (name != name.casefold(), name)):
        spelled.setdefault(name.casefold(), name)
    best_last = [(split, word) for split, words in WORDS.items() for word in reversed(words)]
    return {split: spelled[word] for split, word in best_last if word in spelled}
