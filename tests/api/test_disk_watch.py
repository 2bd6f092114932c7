"""When the event loop reads the store itself, and when it leaves that to a thread."""

import pytest

from limner.api.lookups import DiskWatch


def test_a_slow_disk_is_left_to_threads_for_some_seconds() -> None:
    """One reading that the disk held up sends those of the next five seconds elsewhere, and then it is tried again."""
    # given
    watch = DiskWatch()

    # when
    watch.read(began=100.0, ended=100.05, from_disk=True)

    # then
    assert [watch.slow(now=at) for at in (100.06, 104.9, 105.2)] == [True, True, False]


@pytest.mark.parametrize(("seconds", "from_disk"), [(0.001, True), (0.05, False)])
def test_what_was_quick_or_not_held_up_by_the_disk_changes_nothing(seconds: float, from_disk: bool) -> None:
    """A disk that answers at once is no reason, and neither is a machine that was busy with others."""
    watch = DiskWatch()

    watch.read(began=100.0, ended=100.0 + seconds, from_disk=from_disk)

    assert not watch.slow(now=100.0 + seconds)
