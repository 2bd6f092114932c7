"""A worker that is given no work says why, once, and looks again by itself for as long as that lasts."""

import itertools
from datetime import timedelta

from limner.app.far_told import Reasons
from limner.clock import MovedClock
from limner.domain.workers import NOT_SERVED, Told

OTHER_CODE = Told("far.double", "default", "its code version is 2 and not 1")


def looks(reasons: Reasons, clock: MovedClock, *, told: list[Told], seconds: int) -> list[int]:
    """The seconds in which it looked again, while each is told with every question for tasks."""
    found = []
    for second in range(seconds):
        reasons.hear(told)
        if reasons.look_again():
            found.append(second)
        clock.move(timedelta(seconds=1))
    return found


def test_a_reason_is_said_once() -> None:
    """However often a worker is told why it gets nothing, a person reads it once; and anew once all was right."""
    said: list[str] = []
    reasons = Reasons(said.append, clock=MovedClock())

    reasons.hear([OTHER_CODE])
    reasons.hear([OTHER_CODE])
    assert said == ["No work of far.double/default: its code version is 2 and not 1."]

    reasons.forget()
    reasons.hear([OTHER_CODE])
    assert len(said) == 2


def test_it_looks_again_for_as_long_as_it_is_told() -> None:
    """Soon at first, then later and later, and never less often than every five minutes or so."""
    clock = MovedClock()
    found = looks(Reasons(lambda _: None, clock=clock), clock, told=[OTHER_CODE], seconds=2000)

    assert found[0] == 1
    pauses = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert pauses == sorted(pauses)
    assert 300 <= pauses[-1] <= 302


def test_what_nobody_serves_is_not_looked_at_again() -> None:
    """A version that is active nowhere is no matter of this machine: only what it says, it says."""
    clock = MovedClock()
    nowhere = Told("far.double", "default", NOT_SERVED)

    assert looks(Reasons(lambda _: None, clock=clock), clock, told=[nowhere], seconds=1000) == []


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    """It looks again at once where the time to do so seems further off than it can be."""
    clock = MovedClock()
    reasons = Reasons(lambda _: None, clock=clock)
    reasons.hear([OTHER_CODE])

    clock.move(timedelta(hours=-2))

    assert reasons.look_again()
