"""The progress of a run on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from limner.cli.output import PATIENCE, shown, span, warn

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from limner.app.running import Progress

#: Seconds between two looks at the same bar, and between two lines where standard error is no terminal.
_LOOK = 0.1
_LINE = timedelta(seconds=10).total_seconds()


class Bar:
    """Shows how far a run is, with its rate and the time left, once it has lasted two seconds."""

    def __init__(self, title: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._title = shown(title)
        self._now = now
        self._next = now() + PATIENCE.total_seconds()
        self._at: tuple[str, str] | None = None
        self._settled_at_first: int | None = None
        self._working_since = 0.0
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Bar":
        """The bar, which shows nothing yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Wipe the bar."""
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, progress: "Progress") -> None:
        """Show where the run stands."""
        if self._at != (progress.job, progress.doing):
            # How fast one job goes says nothing about the next.
            self._at, self._settled_at_first = (progress.job, progress.doing), None
        if self._settled_at_first is None and not progress.preparing:
            # What was current before the work began says nothing about how fast it goes.
            self._settled_at_first = _settled(progress)
            self._working_since = self._now()
        now = self._now()
        if now < self._next:
            return
        if sys.stderr.isatty():
            self._next = now + _LOOK
            self._draw(progress)
        else:
            self._next = now + _LINE
            warn(self._line(progress))

    def _draw(self, progress: "Progress") -> None:
        if self._bar is None:
            self._bar, self._task = _started()
        assert self._task is not None
        self._bar.update(
            self._task,
            total=None if progress.preparing else progress.counts.records,
            completed=_settled(progress),
            description=self._described(progress),
            left=self._left(progress),
        )

    def _line(self, progress: "Progress") -> str:
        counts = progress.counts
        place = f"{_settled(progress)} of {counts.records} records"
        return ", ".join(part for part in (f"{self._described(progress)}: {place}", self._left(progress)) if part)

    def _described(self, progress: "Progress") -> str:
        told = [self._title, progress.doing]
        if progress.waiting_for is not None:
            told.append(f"worked on by process {progress.waiting_for}")
        elif progress.preparing:
            told.append("looking through records")
        elif progress.counts.failed:
            told.append(f"{progress.counts.failed} failed")
        return ", ".join(part for part in told if part)

    def _left(self, progress: "Progress") -> str:
        """Rate and time left, as far as they are known."""
        if self._settled_at_first is None or progress.preparing:
            return ""
        done = _settled(progress) - self._settled_at_first
        lasted = self._now() - self._working_since
        if done <= 0 or lasted <= 0:
            return ""
        rate = done / lasted
        return f"{rate:,.1f}/s, {span(progress.counts.open / rate)} left"


def _settled(progress: "Progress") -> int:
    return progress.counts.records - progress.counts.open


def _started() -> "tuple[RichProgress, TaskID]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        # Standard output is the answer's own, also while the bar is shown.
        redirect_stdout=False,
    )
    bar.start()
    return bar, bar.add_task("", total=None, left="")
