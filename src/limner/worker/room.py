"""Bytes of fetched files that tasks in hand may hold: what does not fit waits until others let go of theirs."""

import threading
from collections import deque
from collections.abc import Callable, Iterable


class Space:
    """The room of one file: asked for before it is fetched, given back once nobody holds it."""

    def __init__(self, start: Callable[[], None], *, wanted: Callable[[], bool], guess: Callable[[], int]) -> None:
        """*start* has the file fetched; *guess* tells how many bytes it may have."""
        self.start = start
        self.wanted = wanted
        self.guess = guess
        #: Bytes that are set aside for it, then those that it has.
        self.size = 0
        #: Holds that the file was given to and that are not closed.
        self.holders = 0
        self.begun = False


class Room:
    """
    Lets files be fetched as long as those of tasks that are not done have no more than *most* bytes together.

    They come in the order in which they were asked for, those first that an inferrer waits for. A file that is larger
    than *most* alone is let through. So is, over the limit, what an inferrer waits for while no batch is at work that
    will let go of its own: nothing waits for ever.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[Space] = deque()
        self._urgent: deque[Space] = deque()
        self._used = 0
        self._highest = 0
        self._at_work = 0
        self._in_the_air = 0

    @property
    def used(self) -> int:
        """Bytes that are held or set aside now."""
        return self._used

    @property
    def highest(self) -> int:
        """The most bytes that were held or set aside at any moment."""
        return self._highest

    def ask(self, space: Space) -> None:
        """Have the file of *space* fetched once there is room for it."""
        with self._lock:
            self._waiting.append(space)
        self._go_on()

    def begin(self, space: Space) -> None:
        """Have the file of *space* fetched now: somebody waits for it who cannot do without."""
        with self._lock:
            self._begin(space)
        space.start()

    def hurry(self, spaces: Iterable[Space]) -> None:
        """An inferrer waits for the files of *spaces*."""
        with self._lock:
            self._urgent.extend(space for space in spaces if not space.begun)
        self._go_on()

    def fill(self, space: Space, *, size: int, holders: int) -> None:
        """The file of *space* is there, with *size* bytes, and is given to so many holders."""
        with self._lock:
            self._used += size - space.size
            self._highest = max(self._highest, self._used)
            space.size, space.holders = size, holders
            self._in_the_air -= 1
        self._go_on()

    def leave(self, space: Space) -> None:
        """One holder lets go."""
        with self._lock:
            space.holders -= 1
            if space.holders <= 0:
                self._used -= space.size
                space.size = 0
        self._go_on()

    def work(self) -> None:
        """A batch that holds files is at work."""
        with self._lock:
            self._at_work += 1

    def rest(self) -> None:
        """It is done, and has let go of its files."""
        with self._lock:
            self._at_work -= 1
        self._go_on()

    def close(self) -> None:
        """Begin nothing more: nobody fetches."""
        with self._lock:
            self._waiting.clear()
            self._urgent.clear()

    def _begin(self, space: Space) -> None:
        space.begun = True
        space.size = space.guess() if space.wanted() else 0
        self._used += space.size
        self._highest = max(self._highest, self._used)
        self._in_the_air += 1

    def _go_on(self) -> None:
        """Begin what there is room for now, in order; what is behind something that does not fit waits with it."""
        begun: list[Space] = []
        with self._lock:
            for queue in (self._urgent, self._waiting):
                while queue and (queue[0].begun or self._fits(queue[0], urgent=queue is self._urgent)):
                    space = queue.popleft()
                    if not space.begun:
                        self._begin(space)
                        begun.append(space)
                if queue:
                    break
        for space in begun:
            space.start()

    def _fits(self, space: Space, *, urgent: bool) -> bool:
        if not space.wanted() or not self._used or self._used + space.guess() <= self._most:
            return True
        # A file in the air may be all that another batch waits for, which will let go of its own.
        return urgent and not self._at_work and not self._in_the_air
