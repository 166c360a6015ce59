"""Where a run of several stages stands, and the time that is left, worked out by hand."""

import pytest

from context_propagation.evaluation.course import Course


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def heard():
    return []


def test_a_stage_counts_by_its_share_of_the_work(clock, heard):
    course = Course([1, 3], heard.append, clock)

    first = course.stage()
    first("edits", 0.0)
    clock.now += 10
    first("edits", 0.5)  # an eighth of all in 10 s: 70 s for the other seven
    second = course.stage()
    clock.now += 10
    second("networks", 0.0)  # a quarter in 20 s
    clock.now += 40
    second("networks", 2 / 3)  # three quarters in 60 s

    assert [(one.stage, one.fraction) for one in heard] == [
        ("edits", 0.0), ("edits", 0.125), ("networks", 0.25), ("networks", pytest.approx(0.75)),
    ]  # fmt: skip
    assert [one.seconds_left for one in heard] == [None, 70.0, 60.0, pytest.approx(20.0)]


def test_what_an_earlier_run_left_is_done_and_tells_nothing_of_the_pace(clock, heard):
    course = Course([1, 1], heard.append, clock)

    course.stage()("edits", 1.0)
    second = course.stage()
    second("networks", 0.5)
    assert (heard[-1].fraction, heard[-1].seconds_left) == (0.75, None)
    clock.now += 30
    second("networks", 0.75)  # an eighth of all in 30 s, and as much is left

    assert (heard[-1].fraction, heard[-1].seconds_left) == (0.875, 30.0)


def test_it_never_goes_back(clock, heard):
    stage = Course([1], heard.append, clock).stage()
    for fraction in (0.0, 0.6, 0.5, 1.0):
        stage("edits", fraction)

    assert [one.fraction for one in heard] == [0.0, 0.6, 0.6, 1.0]
    assert heard[-1].seconds_left == 0.0
