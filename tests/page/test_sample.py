"""Which images a lens page shows: evenly over classes, by a seed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from classlens.page.write import even_sample

CLASSES = np.repeat([3, 5, 8, 9], [10, 2, 10, 7])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 45), st.integers(0, 3))
def test_no_class_gives_one_more_before_all_others_gave(classes, count, seed):
    classes = np.array(classes)
    chosen = even_sample(classes, count, seed)
    assert len(chosen) == min(count, len(classes))
    assert (np.diff(chosen) > 0).all()
    given = {index: (classes[chosen] == index).sum() for index in np.unique(classes)}
    most = max(given.values())
    assert all(number >= most - 1 or number == (classes == index).sum() for index, number in given.items())


def test_numbers_worked_out_by_hand():
    chosen = CLASSES[even_sample(CLASSES, 17, 0)]
    assert {index: (chosen == index).sum() for index in (3, 5, 8, 9)} == {3: 5, 5: 2, 8: 5, 9: 5}


def test_the_seed_alone_decides():
    assert even_sample(CLASSES, 9, 4).tolist() == even_sample(CLASSES, 9, 4).tolist()
    assert len({tuple(even_sample(CLASSES, 9, seed)) for seed in range(20)}) > 10


def test_fewer_images_than_classes_and_more_than_there_are():
    classes = {tuple(CLASSES[even_sample(CLASSES, 2, seed)]) for seed in range(40)}
    assert all(len(set(pair)) == 2 for pair in classes)
    assert len(classes) == 6  # every pair is drawn
    for count in (29, 200):
        assert even_sample(CLASSES, count, 1).tolist() == list(range(29))
