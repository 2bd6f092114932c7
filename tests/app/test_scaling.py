"""How many workers a backlog asks for, which of them go, and when lost ones come again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from limner.app.scaling import Bounds, Recent, asked_for, pause_after, surplus

BOUNDS = st.builds(
    lambda least, more, records: Bounds(least=least, most=max(1, least + more), records_per_worker=records),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 5000),
)
BACKLOGS = st.integers(0, 200_000)
#: Seconds since the ask before, and how many were asked for.
ASKS = st.lists(st.tuples(st.floats(0, 500), st.integers(0, 30)), min_size=1, max_size=30)


def test_each_worker_has_its_records() -> None:
    """A worker for each thousand, and one for what is left; none for nothing."""
    # given
    bounds = Bounds(least=0, most=10, records_per_worker=1000)

    # then
    assert [asked_for(n, bounds) for n in (0, 1, 1000, 1001, 9001, 50_000)] == [0, 1, 1, 2, 10, 10]


@given(BACKLOGS, BACKLOGS, BOUNDS)
def test_more_work_never_asks_for_fewer(one: int, other: int, bounds: Bounds) -> None:
    """The number stays within its bounds, and grows with the backlog."""
    # when
    few, many = sorted((one, other))

    # then
    assert bounds.least <= asked_for(few, bounds) <= asked_for(many, bounds) <= bounds.most


@given(st.integers(1, 200_000), BOUNDS)
def test_open_work_always_has_a_worker(backlog: int, bounds: Bounds) -> None:
    """As long as one record is open, one worker is wanted; and no more than have a record each."""
    assert 1 <= asked_for(backlog, bounds) <= max(backlog, bounds.least)


@given(ASKS, st.floats(0, 300))
def test_workers_come_at_once_and_go_late(asks: list[tuple[float, int]], cooldown: float) -> None:
    """As many are wanted as were asked for at most within the cooldown: never fewer than were asked for last."""
    # given
    recent, heard, now = Recent(), [], 0.0

    for pause, workers in asks:
        # when
        now += pause
        recent = recent.heard(workers, now=now, cooldown=timedelta(seconds=cooldown))
        heard.append((now, workers))

        # then
        span = timedelta(seconds=cooldown).total_seconds()
        within = [many for at, many in heard[:-1] if now - at < span]
        assert recent.wanted == max([workers, *within])


@given(ASKS)
def test_what_is_kept_of_asks_is_little(asks: list[tuple[float, int]]) -> None:
    """However often it is asked, no more is remembered than there are different numbers."""
    # given
    recent, now = Recent(), 0.0

    # when
    for pause, workers in asks:
        now += pause
        recent = recent.heard(workers, now=now, cooldown=timedelta(days=9))

    # then
    many = [workers for _, workers in recent.asks]
    assert many == sorted(set(many), reverse=True)


def test_nothing_is_wanted_before_the_first_ask() -> None:
    """A backlog that is not known yet starts no worker."""
    assert Recent().wanted == 0


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 30))
def test_who_is_too_much_goes(placed: list[bool], wanted: int) -> None:
    """So many go that the rest are as many as wanted; nobody at work goes while somebody waits for a machine."""
    # when
    going = surplus(placed, wanted=wanted)

    # then
    staying = set(range(len(placed))) - set(going)
    assert len(staying) == min(len(placed), wanted)
    assert len(going) == len(set(going))
    if any(placed[at] for at in going):
        assert all(placed[at] for at in staying)


def test_the_youngest_go_first() -> None:
    """Of workers alike the last that came goes first: the others have their models loaded for longer."""
    assert surplus([True, True, True], wanted=1) == [2, 1]
    assert surplus([True, False, True], wanted=2) == [1]


@given(st.integers(0, 1000))
def test_losses_in_a_row_wait_longer(losses: int) -> None:
    """One that is lost is replaced after a second, many in a row after a minute at most."""
    # when
    pause, longer = pause_after(losses), pause_after(losses + 1)

    # then
    assert pause <= longer <= timedelta(minutes=1)
    assert (pause_after(0), pause_after(1)) == (timedelta(), timedelta(seconds=1))
