"""Why a far worker is given no work: each reason is said once, and now and then it is time to look again."""

from collections.abc import Callable, Sequence

from limner.clock import Clock
from limner.domain.workers import NOT_SERVED, Told

#: The first and the longest time, in seconds, after which it is looked again whether it is right by now: what is served
#: may have changed here, or the active version there.
_AGAIN = (1.0, 300.0)


class Reasons:
    """Shared by the threads that hear why no work is given, and the one that looks again."""

    def __init__(self, say: Callable[[str], None], *, clock: Clock) -> None:
        """*say* is told what a person should know."""
        self._say = say
        self._clock = clock
        self._known: set[Told] = set()
        self._pause = _AGAIN[0]
        self._next: float | None = None

    def hear(self, told: Sequence[Told]) -> None:
        """Say what is new of *told*, and look again soon; where it is all known, later and later."""
        for one in told:
            if one not in self._known:
                self._known.add(one)
                self._say(f"No work of {one.stage}/{one.implementation}: {one.why}.")
                self._pause = _AGAIN[0]
                self._next = None
        # What is active nowhere is no other thing here.
        if self._next is None and any(one.why != NOT_SERVED for one in told):
            self._next = self._clock.now() + self._pause

    def look_again(self) -> bool:
        """Whether it is time to look again; the next time is then further off."""
        # Further off than that only where the clock was set back.
        if self._next is None or 0 < self._next - self._clock.now() <= _AGAIN[1]:
            return False
        self._pause = min(_AGAIN[1], 2 * self._pause)
        self._next = None
        return True

    def forget(self) -> None:
        """Begin anew: all is right."""
        self._known.clear()
        self._pause = _AGAIN[0]
        self._next = None
