"""A host with inferrers of its own: what cannot run keeps nothing else back, and what is promoted is served."""

import threading
import time
from pathlib import Path

import pytest

from limner.app.hosting import Host
from limner.app.submitting import Submission
from limner.domain.jobs import Job
from limner.domain.records import RecordIn
from limner.domain.values import Value
from limner.errors import NotFound, UsageError
from tests.app.hosts import at_work, counts_of, ended, job_of
from tests.waiting import until

PIPELINE = """
from limner import Index, Number, Pipeline, Stage, Text

pipeline = Pipeline("words", collection="words", stages=[
    Stage("count", infer="inferrers:Count", model="scale@champion", reads={"text": "text"},
          outputs={"value": Number()}, required=False),
    Stage("shout", infer="inferrers:shout", reads={"text": "text"}, outputs={"said": Text()}),
], index=Index(text=["text", "shout.said"]))
lame = Pipeline("lame", collection="words", standing=False, stages=[
    Stage("lame", infer="inferrers:missing", reads={"text": "text"}),
])
heavy = Pipeline("heavy", collection="words", standing=False, stages=[
    Stage("heavy", infer="not_installed_here:Heavy", reads={"text": "text"}),
])
"""
INFERRERS = '''
from pathlib import Path


class Count:
    """Letters, times what the model says."""

    version = "1"

    def __init__(self, model: Path) -> None:
        self.scale = int(model.read_text())

    def infer(self, text: list[str]) -> list[dict]:
        return [{"value": self.scale * len(one)} for one in text]


def shout(text: str) -> dict:
    return {"said": text.upper() + "!"}
'''


def words(*texts: str) -> list[RecordIn]:
    """Records with these ids and texts."""
    return [RecordIn(collection="words", id=text, fields={"text": text}) for text in texts]


def submit(host: Host, *texts: str) -> Job:
    """A job over them."""
    return host.submit(Submission(pipeline="words", rows=words(*texts)))


def said(host: Host, stage: str) -> dict[str, Value]:
    """What a stage says of each record now."""
    return {row.record.id: row.values.get(stage) for row in host.app.records("words")}


def counted(host: Host, identity: str) -> Value:
    """What the stage with the model says of a record now."""
    found = said(host, "count")[identity]
    return found["value"] if isinstance(found, dict) else None


@pytest.mark.slow
def test_what_cannot_run_keeps_nothing_back_and_what_is_promoted_is_served(tmp_path: Path) -> None:
    """
    Inferrers and models that are not there are named when they are asked for; the rest is served.

    A model that is added and promoted is served from then on, without a restart, and what it makes stale is done.
    """
    (tmp_path / "inferrers.py").write_text(INFERRERS)
    with at_work(tmp_path, pipeline=PIPELINE, settings="parallel = 1\n", own_workers=True) as projects:
        host = projects.host("default")
        for name, why in (("lame", "missing"), ("heavy", "not_installed_here")):
            with pytest.raises(UsageError, match=f"Stage {name}/default cannot run: .*{why}"):
                host.submit(Submission(pipeline=name, rows=words("moth")))
        assert ended(host, submit(host, "moth", "beetle")) == "done"
        assert "no model scale@champion" in host.serving.problems("words")["count", "default"]

        _add(host, tmp_path, scale=1)
        host.app.promote("scale@1")
        host.refresh()
        until(lambda: counted(host, "moth") == 4)

        _add(host, tmp_path, scale=10)
        host.app.promote("scale@2")
        host.refresh()
        until(lambda: (counted(host, "moth"), counted(host, "beetle")) == (40, 60))
        later = submit(host, "fly")
        assert ended(host, later) == "done"
        assert counted(host, "fly") == 30
        host.app.registry.rollback("scale", by="a test")
        host.refresh()
        until(lambda: counted(host, "fly") == 3)


def _add(host: Host, folder: Path, *, scale: int) -> None:
    file = folder / f"scale-{scale}.txt"
    file.write_text(str(scale))
    host.app.registry.add("scale", file)


@pytest.mark.timed
@pytest.mark.slow
def test_search_finds_within_a_second_what_a_job_made(tmp_path: Path) -> None:
    """The index follows by itself: once a job has ended, its values are found almost at once."""
    (tmp_path / "inferrers.py").write_text(INFERRERS)
    with at_work(tmp_path, pipeline=PIPELINE, settings="parallel = 1\n", own_workers=True) as projects:
        host = projects.host("default")
        ended(host, submit(host, "moth"))
        until(lambda: _found(host, "moth"))

        job = submit(host, "hawkmoth")
        ended(host, job)
        began = time.monotonic()
        until(lambda: _found(host, "hawkmoth") == ["hawkmoth"])

        assert time.monotonic() - began < 1
        assert counts_of(host, job).done == 1


def test_a_follower_that_breaks_holds_nobody_up(tmp_path: Path) -> None:
    """The others are called all the same, again and again, and jobs go on."""
    with at_work(tmp_path) as projects:
        host = projects.host("default")
        called = threading.Semaphore(0)
        host.followers.insert(0, _break)
        host.followers.append(called.release)

        assert called.acquire(timeout=20)
        assert called.acquire(timeout=20)


def _found(host: Host, word: str) -> list[str]:
    """The ids that a search finds; none while there is no index yet."""
    try:
        return [hit.id for hit in host.app.search("words", word).hits]
    except NotFound:
        return []


def _break() -> None:
    raise ZeroDivisionError("a mistake")


def test_a_moved_version_does_not_end_a_job_early(tmp_path: Path) -> None:
    """A refresh while a job is at work plans its open records anew, and each is counted once."""
    (tmp_path / "inferrers.py").write_text(INFERRERS)
    with at_work(tmp_path, pipeline=PIPELINE, settings="parallel = 1\n", own_workers=True) as projects:
        host = projects.host("default")
        job = submit(host, *(f"word{n}" for n in range(300)))
        (tmp_path / "inferrers.py").write_text(INFERRERS.replace('"!"', '"?"'))
        host.refresh()

        assert ended(host, job) == "done"
        counts = counts_of(host, job)
        assert (counts.records, counts.done, job_of(host, job).sealed) == (300, 300, True)
        asking = {f"word{n}": {"said": f"WORD{n}?"} for n in range(300)}
        until(lambda: said(host, "shout") == asking)
