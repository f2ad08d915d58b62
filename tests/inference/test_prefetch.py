"""Work beside the caller's: order, bounds, and errors from either side."""

import threading
import time

import pytest

from classlens.inference.prefetch import DEPTH, background, prefetch


def test_results_come_in_order_and_at_most_two_steps_ahead():
    begun = []

    def double(item):
        begun.append(item)
        return 2 * item

    for taken, result in enumerate(prefetch(double, range(20))):
        assert result == 2 * taken
        assert len(begun) <= taken + DEPTH + 1
    assert begun == list(range(20))


def test_both_sides_work_at_the_same_time():
    """Either side waits for the other inside its own work, which ends only if both are at work."""
    met = threading.Barrier(2, timeout=20)
    with background(met.wait) as later:
        later()
        met.wait()
    reading, reader = prefetch(lambda item: item or met.wait(), [1, 1, 0, 1]), None
    assert next(reading) == 1
    reader = met.wait()
    assert reader in (0, 1)
    assert len(list(reading)) == 3


def test_an_error_of_the_reader_reaches_the_caller():
    def read(item):
        if item == 3:
            raise OSError("cannot read 3")
        return item

    got = []
    with pytest.raises(OSError, match="cannot read 3"):
        got.extend(prefetch(read, range(10)))
    assert got == [0, 1, 2]


def test_the_caller_waits_for_what_falls_behind():
    gate, begun = threading.Event(), []

    def slow(item):
        begun.append(item)
        gate.wait(20)

    with background(slow) as later:
        for item in range(DEPTH):
            later(item)
        ahead_of_it = threading.Thread(target=later, args=(DEPTH,))
        ahead_of_it.start()
        ahead_of_it.join(0.2)
        assert ahead_of_it.is_alive()
        gate.set()
        ahead_of_it.join(20)
    assert begun == list(range(DEPTH + 1))


def test_nothing_is_done_after_a_call_that_failed():
    done = []

    def write(item):
        if item == 1:
            raise OSError("disk is full")
        done.append(item)

    with pytest.raises(OSError, match="disk is full"), background(write) as later:  # noqa: PT012
        for item in range(5):
            later(item)
            time.sleep(0.01)
    assert done == [0]


def test_an_error_of_the_last_call_is_raised_at_the_end():
    def fail():
        raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"), background(fail) as later:
        later()


def test_an_error_of_the_caller_is_the_one_that_is_told():
    done = []
    with pytest.raises(RuntimeError, match="the caller's"), background(done.append) as later:  # noqa: PT012
        later(1)
        raise RuntimeError("the caller's")
    assert done == [1]
