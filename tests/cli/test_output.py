"""What is printed: documents, columns, durations, and progress where there is no terminal."""

import pytest
from msgspec import structs

from limner.app.running import Progress
from limner.cli.output import document, shown, span, table
from limner.cli.progress import Bar
from limner.domain.jobs import Counts


class Watch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds since it was made."""
        return self.now


def progress(*, done: int, records: int = 100, failed: int = 0, preparing: bool = False) -> Progress:
    """Where a run stands."""
    counts = Counts(records=records, open=records - done - failed, done=done, failed=failed)
    return Progress(job="job", counts=counts, inferred=done, preparing=preparing)


def test_document_is_json_whatever_the_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Structs, bytes, arrays and numbers that JSON lacks become plain JSON."""
    # given
    np = pytest.importorskip("numpy")

    # when
    document({"counts": Counts(records=1), "bytes": b"\x01", "vector": np.ones(2, dtype="f4"), "none": float("nan")})

    # then
    out = capsys.readouterr().out
    assert '"bytes": "01"' in out
    assert '"none": null' in out
    assert '"records": 1' in out


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Where standard output is no terminal, columns are aligned by blanks and nothing is cut."""
    # when
    table(("id", "why"), [("a", None), ("long id", "x" * 300)])

    # then
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "id       why"
    assert second == "a"
    assert third == f"long id  {'x' * 300}"


def test_what_would_steer_a_terminal_is_escaped() -> None:
    """An id that holds an escape sequence is shown and not obeyed."""
    assert shown("a\x1b[31mb") == "a\\x1b[31mb"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "unknown"), (0.26, "0.3 s"), (12.4, "12 s"), (250, "4 min 10 s"), (12_000, "3 h 20 min")],
)
def test_spans_are_told_for_a_person(seconds: float | None, told: str) -> None:
    """A duration is told in the units that a person would choose."""
    assert span(seconds) == told


def test_short_run_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is shown of what takes less than two seconds."""
    # given
    watch = Watch()

    # when
    with Bar("words", now=watch) as bar:
        watch.now = 1.9
        bar(progress(done=50))

    # then
    assert capsys.readouterr() == ("", "")


def test_long_run_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a line tells how far a run is, its rate and the time left, on standard error."""
    # given
    watch = Watch()

    # when
    with Bar("words", now=watch) as bar:
        bar(progress(done=20))
        watch.now = 3.0
        bar(progress(done=50))
        watch.now = 4.0
        bar(progress(done=60))

    # then
    assert capsys.readouterr() == ("", "words: 50 of 100 records, 10.0/s, 5.0 s left\n")


def test_each_step_of_a_command_has_its_own_rate(capsys: pytest.CaptureFixture[str]) -> None:
    """Where several things are done in a row, each says what it is, and how fast it goes by itself."""
    # given
    watch = Watch()

    # when
    with Bar("eos3b5e", now=watch) as bar:
        bar(structs.replace(progress(done=0), job="first", doing="identifying"))
        watch.now = 10.0
        bar(structs.replace(progress(done=100), job="first", doing="identifying"))
        bar(structs.replace(progress(done=0), job="second", doing="predicting"))
        watch.now = 20.0
        bar(structs.replace(progress(done=20), job="second", doing="predicting"))

    # then
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "eos3b5e, predicting: 20 of 100 records, 2.0/s, 40 s left"


def test_failures_are_told_while_a_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Failed records are counted in the progress."""
    # given
    watch = Watch()

    # when
    with Bar("words", now=watch) as bar:
        watch.now = 3.0
        bar(progress(done=0, failed=7))

    # then
    assert capsys.readouterr().err.startswith("words, 7 failed: 7 of 100 records")
