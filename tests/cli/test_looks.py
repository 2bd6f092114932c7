"""Status, jobs, failures and why: one JSON document each, and text that a person can follow."""

from pathlib import Path

import pytest

from limner.domain.failures import FailureCode
from tests.cli.cases import limner


@pytest.mark.parametrize(
    "verb", [["status"], ["jobs"], ["failures"], ["failures", "--codes"], ["why", "words", "w/one.txt"]]
)
def test_json_is_one_document_and_nothing_else(worked: Path, verb: list[str]) -> None:
    """With --json a reading verb prints one JSON document on standard output, and nothing beside it."""
    # when
    typed = limner(*verb, "--json", project=worked)

    # then
    assert isinstance(typed.document(), dict)
    assert (typed.status, typed.err) == (0, "")


def test_status_counts_the_records(worked: Path) -> None:
    """Where a pipeline stands is told with its counts and its stages."""
    # when
    (pipeline,) = limner("status", "--json", project=worked).document()["pipelines"]

    # then
    assert (pipeline["counts"]["done"], pipeline["counts"]["failed"]) == (2, 1)
    assert [stage["stage"] for stage in pipeline["stages"]] == ["shout/shout"]


def test_failure_is_told_with_id_and_code(worked: Path) -> None:
    """A failed record is told with its id, stage, code, message, attempts and workers."""
    # when
    (row,) = limner("failures", "--json", project=worked).document()["failures"]

    # then
    assert (row["id"], row["stage"], row["code"], row["attempts"]) == ("w/two.txt", "shout", "MODEL_ERROR", 1)
    assert "two is broken" in row["message"]
    assert row["workers"]


def test_failures_are_counted_by_code(worked: Path) -> None:
    """Every code is listed, with the tries it is given and who has it."""
    told = limner("failures", "--codes", "--json", project=worked).document()["codes"]

    assert [one["code"] for one in told] == [code.value for code in FailureCode]
    assert [one for one in told if one["records"]] == [
        {"code": "MODEL_ERROR", "tries": 1, "records": 1, "stages": {"shout": 1}}
    ]


def test_unknown_job_is_a_users_mistake(worked: Path) -> None:
    """A job that does not exist is refused with status 2 and the command that lists them."""
    # when
    typed = limner("failures", "job-nobody", "--json", project=worked)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert "limner jobs" in typed.err


def test_events_of_a_job_are_told(worked: Path) -> None:
    """What happened to a job is told in its order."""
    # given
    job = limner("jobs", "--json", project=worked).document()["jobs"][0]["id"]

    # when
    events = limner("jobs", job, "--events", "--json", project=worked).document()["events"]

    # then
    assert [event["kind"] for event in events] == ["created", "running", "sealed", "done_with_failures"]


def test_why_tells_every_stage_down_to_digests(worked: Path) -> None:
    """Provenance of a record, its id with slash and dot, holds version, digests, worker, times and attempts."""
    # when
    typed = limner("why", "words", "w/one.txt", "--stage", "shout", project=worked)

    # then
    for fact in ("shout/shout: done", "version: ", "input digest: ", "value digest: ", "worker: ", "attempts: 1"):
        assert fact in typed.out


def test_why_tells_what_a_failure_was(worked: Path) -> None:
    """A failed record's provenance names its code and every attempt."""
    # when
    (origin,) = limner("why", "words", "w/two.txt", "--json", project=worked).document()["origins"]

    # then
    assert origin["status"] == "failed"
    assert "MODEL_ERROR" in origin["explanation"]
    assert len(origin["history"]) == 1


def test_unknown_stage_is_named_with_the_known_ones(worked: Path) -> None:
    """Asking for a stage that said nothing names those that did."""
    # when
    typed = limner("why", "words", "w/one.txt", "--stage", "sing", project=worked)

    # then
    assert typed.status == 2
    assert "shout" in typed.err


def test_export_writes_the_records(worked: Path, tmp_path: Path) -> None:
    """A collection goes to the file that is named, and the answer says how many records that were."""
    # when
    typed = limner("export", "words", "--to", tmp_path / "words.csv", "--json", project=worked)

    # then
    assert typed.document()["records"] == 3
    assert "w/one.txt" in (tmp_path / "words.csv").read_text(encoding="utf-8")


def test_events_are_followed_to_the_end(worked: Path) -> None:
    """Following a job that has ended tells its events, one a line, and ends too."""
    # given
    job = limner("jobs", "--json", project=worked).document()["jobs"][0]["id"]

    # when
    typed = limner("jobs", job, "--events", "--follow", project=worked)

    # then
    assert typed.status == 0
    kinds = [line.split()[2] for line in typed.out.splitlines()]
    assert kinds == ["created", "running", "sealed", "done_with_failures"]


def test_following_needs_a_job(worked: Path) -> None:
    """What is followed is the events of one job; without one the command that is meant is told."""
    # when
    typed = limner("jobs", "--follow", project=worked)

    # then
    assert typed.status == 2
    assert "limner jobs JOB --events --follow" in typed.err
