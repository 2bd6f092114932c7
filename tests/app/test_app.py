"""The application over a small project: real inferrers in real child processes, a handful of runs."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import limner
from limner.app.app import App
from limner.app.running import Progress, Summary
from limner.domain.records import RecordIn
from limner.errors import ConfigurationError, NotFound, UsageError

INFERRERS = '''
"""Inferrers of the project."""

from pathlib import Path

HERE = Path(__file__).parent


class Length:
    """How long a text is; says which process asked."""

    version = "1"

    def __init__(self, unit: int = 1):
        self.unit = unit

    def infer(self, text: list[str]) -> list:
        with (HERE / "calls.txt").open("a") as calls:
            calls.writelines(f"{one}\\n" for one in text)
        return [ValueError("too long") if len(one) > 8 else {"length": len(one) * self.unit} for one in text]


def parts(text: str) -> list:
    return [{"letter": letter} for letter in sorted(set(text))]


def square(x: int) -> dict:
    return {"value": x * x}
'''
PIPELINE = """
from limner import Implementation, Number, Pipeline, Stage

pipeline = Pipeline(
    "texts",
    collection="texts",
    stages=[
        Stage(
            "length",
            implementations={
                "plain": Implementation(infer="inferrers:Length"),
                "double": Implementation(infer="inferrers:Length", params={"unit": 2}),
            },
            reads={"text": "text"},
            outputs={"length": Number(whole=True)},
        ),
        Stage("square", "inferrers:square", reads={"x": "length.length"}),
        Stage("parts", "inferrers:parts", kind="expand", of="letters", identity=["letter"], reads={"text": "text"}),
    ],
)
"""
ROWS = [{"id": "a", "text": "ada"}, {"id": "b", "text": "bob"}, {"id": "c", "text": "far too long"}, {"text": "no id"}]


class Ran:
    """A project after its first run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inferrers.py").write_text(INFERRERS)
        (folder / "pipeline.py").write_text(PIPELINE)
        (folder / "limner.toml").write_text('[pipelines]\ntexts = "pipeline.py:pipeline"\n')
        self.source = folder / "texts.jsonl"
        self.source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        self.folder = folder
        self.told: list[Progress] = []
        self.app: App = limner.open(folder)
        self.first: Summary = self.app.run("texts", self.source, progress=self.told.append)

    def calls(self) -> list[str]:
        """What the first inferrer was handed so far."""
        return (self.folder / "calls.txt").read_text().split("\n")[:-1]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """One project for all that only look."""
    made = Ran(tmp_path_factory.mktemp("project"))
    yield made
    made.app.close()


def test_run_ends_with_a_summary_that_adds_up(ran: Ran) -> None:
    """Records are done or failed, rows that are no records are set aside, and the progress never fell."""
    first = ran.first

    assert (first.records, first.done, first.failed, first.set_aside) == (3, 2, 1, 1)
    assert first.inferred == 7
    ended = [told.counts.records - told.counts.open for told in ran.told]
    assert ended == sorted(ended)


def test_second_run_starts_no_worker(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds everything current infers nothing and needs no thread for a worker."""
    before = ran.calls()
    started: list[str] = []
    begin = threading.Thread.start

    def noted(thread: threading.Thread) -> None:
        started.append(thread.name)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", noted)

    again = ran.app.run("texts", ran.source)
    stored = ran.app.run("texts")

    assert (again.inferred, stored.inferred, ran.calls()) == (0, 0, before)
    assert (again.failed, stored.failed) == (1, 1)
    assert started == []


def test_why_says_where_a_value_came_from(ran: Ran) -> None:
    """Version, worker, attempt, times and digests stand beside each value, a failure beside its history."""
    told = ran.app.why("texts", "a", stage="length")
    failed = ran.app.why("texts", "c")
    (origin,) = told.origins

    assert (origin.status, origin.implementation, origin.code, origin.active) == ("done", "plain", "1", True)
    assert origin.worker is not None
    assert origin.attempts == 1
    assert len(origin.version) == len(origin.input_digest) == len(origin.value_digest) == 32
    assert origin.started is not None
    assert origin.ended is not None
    by_stage = {one.stage: one for one in failed.origins}
    assert str(by_stage["length"].explanation).startswith("MODEL_ERROR")
    assert str(by_stage["square"].explanation).startswith("UPSTREAM_FAILED")
    assert "(final)" in by_stage["length"].history[0]


def test_failures_name_record_stage_and_code(ran: Ran) -> None:
    """Of a job and of everything that stands."""
    everywhere, of_job = ran.app.failures(), ran.app.failures(ran.first.job)

    assert [(row.id, row.stage, row.code) for row in everywhere] == [
        ("c", "length", "MODEL_ERROR"),
        ("c", "square", "UPSTREAM_FAILED"),
    ]
    assert of_job == everywhere
    assert everywhere[0].attempts == 1
    assert everywhere[1].reason == "length"


def test_records_come_with_values_and_provenance(ran: Ran) -> None:
    """Rows hold the current values by stage; of an expansion the number of children, which have rows of their own."""
    rows = {row.record.id: row for row in ran.app.records("texts")}
    letters = [row.record for row in ran.app.records("letters")]

    assert rows["a"].values == {"length": {"length": 3}, "square": {"value": 9}, "parts": {"count": 2}}
    assert rows["c"].values == {"parts": {"count": 9}}
    assert set(rows["a"].provenance) == {"length", "square", "parts"}
    assert sorted(r.fields["letter"] for r in letters if r.parent == ("texts", "a")) == ["a", "d"]


def test_export_writes_every_record(ran: Ran, tmp_path: Path) -> None:
    """A file holds one line a record, with the values."""
    count = ran.app.export("texts", tmp_path / "out.jsonl")

    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert (count, len(lines)) == (3, 3)
    assert "3" in json.dumps(lines[0])


def test_status_and_jobs_say_where_things_stand(ran: Ran) -> None:
    """A pipeline with its stages, and its jobs, the newest first."""
    (status,) = ran.app.status()
    job = ran.app.job(ran.first.job)

    assert (status.counts.records, status.counts.done, status.counts.failed) == (3, 2, 1)
    assert [stage.stage for stage in status.stages] == ["length/plain", "square/default", "parts/default"]
    assert all(stage.open == 0 for stage in status.stages)
    assert (job.state, job.counts.failed, job.set_aside) == ("done_with_failures", 1, 1)
    assert ran.first.job in [one.id for one in ran.app.jobs()]


def test_mistakes_are_answered_with_sentences(ran: Ran) -> None:
    """An unknown pipeline, record, stage, collection, implementation, or an empty scope."""
    app = ran.app
    wrong: list[Callable[[], object]] = [
        lambda: app.run("nothing"),
        lambda: app.why("texts", "nobody"),
        lambda: app.why("nowhere", "a"),
        lambda: app.why("texts", "a", stage="nope"),
        lambda: list(app.records("nowhere")),
        lambda: app.run("texts", choices={"length": ["triple"]}),
        lambda: app.run("texts", ids=["nobody"]),
        lambda: app.job("job-none"),
    ]

    for mistake in wrong:
        with pytest.raises((NotFound, UsageError, ConfigurationError), match=r"\w+ \w+"):
            mistake()


def test_plan_before_a_change_names_what_the_run_then_infers(tmp_path: Path) -> None:
    """An edited inferrer is planned, run, and rolled back without inferring."""
    made = Ran(tmp_path / "project")
    edited = INFERRERS.replace('version = "1"', 'version = "2"').replace("> 8", "> 80")
    (made.folder / "inferrers.py").write_text(edited)
    made.app.close()
    app = limner.open(made.folder)

    plan = app.plan("texts")
    run = app.run("texts")
    after = app.plan("texts")
    (made.folder / "inferrers.py").write_text(INFERRERS)
    back = app.run("texts")
    other = app.run("texts", ids=["a"], choices={"length": ["double"]})

    assert plan.stages["length"].stale == 3
    assert plan.stages["length"].reasons == {"version": 3}
    assert run.failed == 0
    assert after.stale == 0
    assert (back.inferred, back.failed) == (0, 1)
    assert other.inferred == 2
    assert len([call for call in made.calls() if call == "ada"]) == 3
    app.close()


def test_job_of_a_process_that_died_is_taken_over(ran: Ran) -> None:
    """A job whose process was killed while it took records in ends with those that it had committed."""
    engine = ran.app.engine("texts")
    with ran.app.store.transaction() as tx:
        detail = {"process": "1 of a machine that is gone"}
        job = engine.desk.open(tx, "texts", choices={}, detail=detail)
        scope = engine.scope(tx, "texts", {})
        given = RecordIn(collection="texts", id="d", fields={"text": "dot"})
        engine.intake.take(tx, engine.scopes(tx), scope, job.id, [given])

    ran.app.run("texts", ids=["d"])

    taken = ran.app.job(job.id)
    assert (taken.state, taken.counts.done) == ("done", 1)
    with ran.app.store.reading() as tx:
        assert "interrupted" in [event.kind for event in tx.jobs.events(job.id)]
