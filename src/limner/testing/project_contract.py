"""
What a project must do over every bus, store and artifacts; subclass it and give it a fixture `settings`.

Each room has a contract of its own. This one is for what they do together: a new backend of one room is run with some
of the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from limner.domain.failures import FailureCode
from limner.domain.jobs import Counts, JobState
from limner.domain.records import RecordIn
from limner.domain.values import Value
from limner.testing.platform import Platform

PIPELINE = """
from limner import Artifact, Number, Pipeline, Stage, Text

pipeline = Pipeline("numbers", collection="numbers", standing=False, stages=[
    Stage("split", infer="split:split", kind="expand", of="parts", identity=["at"], reads={"n": "n"},
          batch=2, task_size=2),
    Stage("name", infer="split:name", over="parts", reads={"at": "at", "n": "parent.n"},
          outputs={"name": Text()}, batch=2, task_size=2),
    Stage("draw", infer="draw:draw", reads={"n": "n"}, batch=1, task_size=2,
          outputs={"sum": Number(), "picture": Artifact(optional=True)}),
])
"""
SPLIT = """
version = "1"


def split(n: int) -> list:
    return [{"at": 10 * n + place} for place in range(n % 3)]


def name(at: int, n: int) -> dict:
    return {"name": f"{n} has {at}"}
"""
#: Slowed down by a file, or held by another one, so that something can happen meanwhile; a third makes a number fail.
DRAW = """
import time
from pathlib import Path

version = "1"


def draw(n: int) -> dict:
    time.sleep(float(Path("pace").read_text()))
    while Path("held").exists():
        time.sleep(0.02)
    if n % 10 == 3 and Path("broken").exists():
        raise ValueError("three is broken")
    picture = {"picture": b"picture of %d" % n} if n % 4 == 0 else {}
    return {"sum": n + 1, **picture}
"""
FILES = {"pipeline.py": PIPELINE, "split.py": SPLIT, "draw.py": DRAW, "pace": "0"}
#: Records of a job.
RECORDS = 10
DONE = Counts(records=RECORDS, done=RECORDS)


class ProjectContract:
    """Tests that run over any combination; they share one platform, and each has records of its own."""

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls) -> Mapping[str, object]:
        """Settings that name bus, store and artifacts, all empty; what is not named is as on a laptop."""
        raise NotImplementedError("abstract: a subclass gives the fixture `settings`")

    @pytest.fixture(scope="class")
    @classmethod
    def far(cls) -> bool:
        """Whether a far worker infers, over the broker or over HTTP, and not the server itself."""
        return False

    @pytest.fixture(scope="class")
    @classmethod
    def platform(
        cls, settings: Mapping[str, object], far: bool, tmp_path_factory: pytest.TempPathFactory
    ) -> Iterator[Platform]:
        """A server and whoever infers, at work."""
        folder: Path = tmp_path_factory.mktemp("platform") / "project"
        with Platform(folder, files=FILES, settings={**settings, "lease": 2.0, "parallel": 1}, far=far) as made:
            yield made

    def test_a_job_is_done_whole(self, platform: Platform) -> None:
        """Every record has its values, its children theirs, and files that were made can be read."""
        job = platform.submit("numbers", rows(0))

        assert platform.ended(job) == DONE
        assert platform.job(job).state is JobState.DONE
        complete(platform, 0)
        for n, value in drawn(platform, 0).items():
            if n % 4 == 0:
                picture = value["picture"]
                assert isinstance(picture, dict)
                with platform.host.app.artifacts.open(str(picture["sha256"])) as file:
                    assert file.read() == b"picture of %d" % n

    def test_nothing_is_inferred_twice(self, platform: Platform) -> None:
        """Another job over the same records ends with what is known."""
        platform.ended(platform.submit("numbers", rows(100)))

        again = platform.submit("numbers", rows(100))

        assert platform.ended(again) == DONE
        assert platform.job(again).inferred == 0

    def test_what_a_lost_worker_had_is_done_by_another(self, platform: Platform) -> None:
        """A task that was taken and of which nothing is heard any more is done once its lease has run out."""
        platform.write("held", "")
        job = platform.submit("numbers", rows(200))
        platform.lose_a_task("numbers.draw/default")
        platform.remove("held")

        assert platform.ended(job) == DONE
        complete(platform, 200)

    def test_a_cancelled_job_stops_and_a_retry_completes_it(self, platform: Platform) -> None:
        """What was done stays, the rest is cancelled at once, and a new round does the rest; counts always add up."""
        platform.write("pace", "0.3")
        job = platform.submit("numbers", rows(300))
        platform.until(lambda: platform.counts(job).done)

        counts = platform.host.cancel(job)
        platform.write("pace", "0")

        assert (counts.records, counts.open, counts.done + counts.cancelled) == (RECORDS, 0, RECORDS)
        assert counts.done
        assert counts.cancelled
        assert platform.job(job).state is JobState.CANCELLED
        platform.host.retry(job)
        assert platform.ended(job) == DONE
        complete(platform, 300)

    def test_a_failed_record_fails_alone_and_is_retried(self, platform: Platform) -> None:
        """Its job says so, with its code, and all others are done; mended and retried, the record is done, too."""
        platform.write("broken", "")
        job = platform.submit("numbers", rows(400))

        assert platform.ended(job) == Counts(records=RECORDS, done=RECORDS - 1, failed=1)
        assert platform.job(job).state is JobState.DONE_WITH_FAILURES
        assert [row.code for row in platform.host.app.failures(job)] == [FailureCode.MODEL_ERROR]
        platform.remove("broken")
        platform.host.retry(job)
        assert platform.ended(job) == DONE
        complete(platform, 400)

    def test_a_changed_version_redoes_its_own_stage_alone(self, platform: Platform) -> None:
        """After a restart with a new version of one stage only that is inferred anew."""
        platform.ended(platform.submit("numbers", rows(500)))
        platform.__exit__()
        platform.write("draw.py", DRAW.replace('version = "1"', 'version = "2"').replace("n + 1", "n + 2"))
        platform.__enter__()

        job = platform.submit("numbers", rows(500))

        assert platform.ended(job) == DONE
        assert platform.job(job).inferred == RECORDS
        assert {n: value["sum"] for n, value in drawn(platform, 500).items()} == {n: n + 2 for n in numbers(500)}


def numbers(first: int) -> range:
    """The numbers of a test's own records."""
    return range(first, first + RECORDS)


def rows(first: int) -> Sequence[RecordIn]:
    """A test's own records."""
    return [RecordIn(collection="numbers", id=f"n{n}", fields={"n": n}) for n in numbers(first)]


def complete(platform: Platform, first: int) -> None:
    """Assert that all that should be known of a test's own records is, and nothing else."""
    parents = {f"n{n}" for n in numbers(first)}
    parts = [row for row in platform.values("parts") if row.record.parent and row.record.parent[1] in parents]
    assert sorted(str(row.values["name"]) for row in parts) == sorted(
        str({"name": f"{n} has {10 * n + place}"}) for n in numbers(first) for place in range(n % 3)
    )
    assert {n: value["sum"] for n, value in drawn(platform, first).items()} == {n: n + 1 for n in numbers(first)}


def drawn(platform: Platform, first: int) -> dict[int, dict[str, Value]]:
    """What the stage that makes files says of a test's own records, by their numbers."""
    found = {int(row.record.id.removeprefix("n")): row.values.get("draw") for row in platform.values("numbers")}
    return {n: value for n, value in found.items() if n in numbers(first) and isinstance(value, dict)}
