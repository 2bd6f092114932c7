"""All that the command line prints: answers on standard output, everything else on standard error."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

#: What lasts longer shows that it goes on.
PATIENCE = timedelta(seconds=2)


def say(*lines: str) -> None:
    """Print lines of an answer."""
    sys.stdout.write("".join(f"{shown(line)}\n" for line in lines))


def warn(*lines: str) -> None:
    """Print lines that are no part of the answer."""
    sys.stdout.flush()
    sys.stderr.write("".join(f"{shown(line)}\n" for line in lines))
    sys.stderr.flush()


def document(value: object) -> None:
    """Print *value* as the one JSON document of a command."""
    import msgspec

    text = msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2).decode()
    sys.stdout.write(f"{text}\n")


def table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns: fitted to a terminal, in full where standard output is none."""
    cells = [[shown("" if cell is None else str(cell)).replace("\n", " ") for cell in row] for row in rows]
    if sys.stdout.isatty():
        _rich_table(titles, cells)
        return
    widths = [max(len(line[at]) for line in [list(titles), *cells]) for at in range(len(titles))]
    for line in [list(titles), *cells]:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def shown(text: str) -> str:
    """*text* with what would steer a terminal as escapes: ids and messages come from anywhere."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def span(seconds: float | None) -> str:
    """A duration for a person: ``0.31 ms``, ``0.3 s``, ``12 s``, ``4 min 10 s``, ``3 h 20 min``."""
    if seconds is None:
        return "unknown"
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.2f} ms" if seconds < 0.001 else f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(at: float | None) -> str:
    """A time for a person, UTC; empty where there is none."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))


@contextmanager
def patience(doing: str) -> Iterator[None]:
    """Show on a terminal that *doing* goes on, and for how long, once it has lasted two seconds."""
    if not sys.stderr.isatty():
        yield
        return
    over = threading.Event()
    ticker = threading.Thread(target=_tick, args=(doing, over), name="patience", daemon=True)
    ticker.start()
    try:
        yield
    finally:
        over.set()
        ticker.join()


def _tick(doing: str, over: threading.Event) -> None:
    if over.wait(PATIENCE.total_seconds()):
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        bar.add_task(shown(doing), total=None)
        over.wait()


def _rich_table(titles: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(*titles, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in cells:
        made.add_row(*map(Text, row))
    Console().print(made)


def _plain(value: object) -> object:
    """*value* in JSON's types."""
    import msgspec

    from limner.domain.values import plain

    return plain(msgspec.to_builtins(value, builtin_types=(bytes, memoryview), enc_hook=plain))
