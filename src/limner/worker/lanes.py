"""Jobs in lanes, one lane a host: no more at once than a host is asked to bear, and no lane waits for another."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


class Lanes:
    """Runs jobs in a few threads; *at_once* jobs of one lane at most, *rate* of them a second if that is given."""

    def __init__(self, *, at_once: int, rate: float | None = None, threads: int = 32) -> None:
        self._at_once = at_once
        self._rate = rate
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._lock = threading.Condition()
        self._running: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self._next: dict[str, float] = {}
        self._closed = threading.Event()

    def submit(self, lane: str, job: Callable[[], None]) -> None:
        """Run *job*, which raises nothing, as soon as its lane has room."""
        with self._lock:
            if self._running[lane] >= self._at_once:
                self._waiting[lane].append(job)
                return
            self._running[lane] += 1
        self._pool.submit(self._run, lane, job)

    def pace(self, lane: str) -> None:
        """Wait until the lane's rate allows one more request."""
        if self._rate is None:
            return
        with self._lock:
            at = max(time.monotonic(), self._next.get(lane, 0.0))
            self._next[lane] = at + 1 / self._rate
        self._closed.wait(at - time.monotonic())

    def close(self) -> None:
        """Let the jobs that run come to their end; those that wait are run too, and find that they are not wanted."""
        self._closed.set()
        with self._lock:
            # Only then: a job that ends may still hand the next one to the pool.
            self._lock.wait_for(lambda: not self._running)
        self._pool.shutdown()

    def _run(self, lane: str, job: Callable[[], None]) -> None:
        try:
            job()
        finally:
            self._go_on(lane)

    def _go_on(self, lane: str) -> None:
        """Hand the lane's next job to the pool, behind those of other lanes that came before it."""
        with self._lock:
            waiting = self._waiting[lane]
            if not waiting:
                del self._waiting[lane]
                self._running[lane] -= 1
                if not self._running[lane]:
                    del self._running[lane]
                self._lock.notify_all()
                return
            job = waiting.popleft()
        self._pool.submit(self._run, lane, job)
