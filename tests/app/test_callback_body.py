"""The platform's own callback over a project that really ran."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import limner
from limner.app.app import App
from limner.app.callback_body import body, split
from limner.app.outbox import Outbox
from limner.app.redelivering import Alone, redeliver
from limner.app.secrets import ServerKey
from limner.domain.jobs import Fate, Job, JobState
from limner.errors import IllegalMove
from limner.store.callbacks import Callback
from limner.testing.listener import CallbackListener

INFERRERS = """
import numpy


def length(text: str) -> dict:
    if len(text) > 8:
        raise ValueError("too long")
    return {"length": len(text), "vector": numpy.arange(2, dtype="float32")}


def parts(text: str) -> list:
    return [{"letter": letter} for letter in sorted(set(text))]


def code(letter: str) -> dict:
    if letter == "z":
        raise ValueError("no z")
    return {"code": ord(letter)}
"""
PIPELINE = """
from limner import Implementation, Pipeline, Stage

pipeline = Pipeline(
    "texts",
    collection="texts",
    stages=[
        Stage("length", "inferrers:length", reads={"text": "text"}),
        Stage("parts", "inferrers:parts", kind="expand", of="letters", identity=["letter"], reads={"text": "text"}),
        Stage(
            "code",
            over="letters",
            implementations={
                "one": Implementation(infer="inferrers:code"),
                "two": Implementation(infer="inferrers:code"),
            },
            reads={"letter": "letter"},
        ),
    ],
)
"""
ROWS = {"a/1": "ab", "b": "far too long", "c": "z"}


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project after a run in which two of three records failed, and the run's job."""
    folder = tmp_path_factory.mktemp("worked")
    (folder / "inferrers.py").write_text(INFERRERS, encoding="utf-8")
    (folder / "pipeline.py").write_text(PIPELINE, encoding="utf-8")
    lines = [json.dumps({"id": identity, "text": text}) for identity, text in ROWS.items()]
    (folder / "texts.jsonl").write_text("\n".join([*lines, '{"text": "no id"}']), encoding="utf-8")
    with limner.open(folder) as app:
        summary = app.run("texts", folder / "texts.jsonl", choices={"code": ["one", "two"]})
    return folder, summary.job


@pytest.fixture
def app(worked: tuple[Path, str], tmp_path: Path) -> Iterator[App]:
    """The project, opened anew."""
    shutil.copytree(worked[0], tmp_path / "project")
    with limner.open(tmp_path / "project") as made:
        yield made


def told(app: App, job: str) -> tuple[Job, dict[str, Any], dict[str, dict[str, Any]]]:
    """The job, its body, and the rows of the body by id; of a letter ``PARENT LETTER``."""
    host = Alone(name="default", app=app, store=app.store, clock=app.clock)
    with app.store.reading() as tx:
        found = tx.jobs.get(job)
        keys = [key for page in tx.ledger.pages(job) for key in page]
    made = body(host, found, keys)
    rows = {}
    for row in made["records"]:
        name = row["id"]
        if "parent" in row:
            code = row["values"].get("code/one", {}).get("code")
            name = f"{row['parent']['id']} {chr(code) if code else '?'}"
        rows[name] = row
    return found, made, rows


def test_body_says_what_became_of_the_job(app: App, worked: tuple[Path, str]) -> None:
    """Project, state and exact counts, rows that were set aside included."""
    job, made, _ = told(app, worked[1])

    assert (made["job"], made["project"], made["pipeline"]) == (job.id, "default", "texts")
    assert made["state"] == "done_with_failures"
    assert made["counts"] == {
        "records": 3, "open": 0, "done": 1, "failed": 2, "skipped": 0, "cancelled": 0, "set_aside": 1
    }  # fmt: skip
    assert "process" not in made["detail"]


def test_record_is_followed_by_its_children(app: App, worked: tuple[Path, str]) -> None:
    """Each row has its values by stage in JSON's types, and the version of each; children name their parent."""
    _, made, rows = told(app, worked[1])
    first = rows["a/1"]

    assert [row["id"] for row in made["records"] if "parent" not in row] == list(ROWS)
    assert first["status"] == "done"
    assert first["values"] == {"length": {"length": 2, "vector": [0.0, 1.0]}, "parts": {"count": 2}}
    version = first["versions"]["length"]
    assert (version["implementation"], version["model"], len(version["version"])) == ("default", None, 32)
    child = rows["a/1 b"]
    assert child["collection"] == "letters"
    assert child["parent"] == {"collection": "texts", "id": "a/1"}
    assert child["values"] == {"code/one": {"code": 98}, "code/two": {"code": 98}}


def test_failure_is_told_with_code_and_stage(app: App, worked: tuple[Path, str]) -> None:
    """Of the record itself, or of the child because of which it failed; what succeeded keeps its values."""
    _, _, rows = told(app, worked[1])

    own, by_child, child = rows["b"], rows["c"], rows["c ?"]
    assert (own["status"], own["error"]["code"], own["error"]["stage"]) == ("failed", "MODEL_ERROR", "length")
    assert (own["error"]["attempt"], own["error"]["retryable"]) == (1, False)
    assert "too long" in own["error"]["message"]
    assert own["error"]["worker"]
    assert own["values"] == {"parts": {"count": 9}}
    assert (by_child["status"], by_child["error"]["stage"]) == ("failed", "code")
    assert (child["status"], child["error"]["message"]) == ("failed", by_child["error"]["message"])


@pytest.mark.parametrize(
    ("state", "code"), [(JobState.CANCELLED, "CANCELLED"), (JobState.EXPIRED, "EXPIRED")], ids=["cancelled", "expired"]
)
def test_record_that_was_not_reached_says_why(app: App, worked: tuple[Path, str], state: JobState, code: str) -> None:
    """A job that was stopped tells so for each record that it did not finish."""
    job = worked[1]
    with app.store.transaction() as tx:
        keys = [key for page in tx.ledger.pages(job) for key in page]
        tx.ledger.settle(job, {keys[0]: Fate.CANCELLED})
        tx.jobs.move(job, JobState.RUNNING, at=1.0)
        if state is JobState.CANCELLED:
            tx.jobs.move(job, JobState.CANCELLING, at=1.0)
        tx.jobs.move(job, state, at=2.0)

    _, made, rows = told(app, job)

    assert made["state"] == state.value
    assert (rows["a/1"]["status"], rows["a/1"]["error"]["code"]) == ("cancelled", code)


def test_root_that_is_too_large_is_split_by_records_and_stages(app: App, worked: tuple[Path, str]) -> None:
    """Its parts together hold everything that the whole held, and each names the job."""
    _, made, _ = told(app, worked[1])

    parts = split(made, 1200)

    pieces = [
        (row["collection"], row["id"], stage) for part in parts for row in part["records"] for stage in row["values"]
    ]
    whole = [(row["collection"], row["id"], stage) for row in made["records"] for stage in row["values"]]
    assert len(parts) > 3
    assert pieces == whole
    assert all(len(json.dumps(part)) < 1400 for part in parts)
    assert {part["job"] for part in parts} == {made["job"]}


def test_callback_of_a_real_job_is_sent_again_over_the_store_alone(worked: tuple[Path, str], tmp_path: Path) -> None:
    """Without any server: the body is made and sent by whoever looks, and sent again by a command."""
    folder, job = tmp_path / "project", worked[1]
    shutil.copytree(worked[0], folder)
    with CallbackListener(token="t") as listener, limner.open(folder, allow_hosts=[listener.host]) as app:
        key = ServerKey.of(app.project, clock=app.clock)
        with app.store.transaction() as tx:
            tx.callbacks.add(Callback(job=job, url=listener.url, token=key.seal("t")))
        with pytest.raises(IllegalMove, match="done_with_failures"):
            redeliver(app, job)
        with app.store.transaction() as tx:
            tx.jobs.move(job, JobState.RUNNING, at=1.0)
            tx.jobs.move(job, JobState.DONE_WITH_FAILURES, at=2.0)

        host = Alone(name="default", app=app, store=app.store, clock=app.clock)
        outbox = Outbox(host, key=key)
        outbox.collect(job)
        first, again = outbox.deliver(job), redeliver(app, job)
        outbox.stop(timedelta())

    assert (first.state, again.state) == ("delivered", "delivered")
    one, two = listener.received
    assert (one.problems, two.problems) == ([], [])
    assert (one.webhook_id, one.body) == (two.webhook_id, two.body)
    assert one.document["counts"]["failed"] == 2  # type: ignore[index]  # an object
