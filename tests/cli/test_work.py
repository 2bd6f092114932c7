"""Run, plan, retry and cancel: what they answer, and with which exit status."""

import json
from pathlib import Path

import pytest

from tests.cli.cases import limner, write_project

SUMMARY = {
    "job",
    "records",
    "done",
    "failed",
    "skipped",
    "cancelled",
    "inferred",
    "reused",
    "set_aside",
    "seconds",
}


def test_run_ends_with_a_summary_as_json(project: Path) -> None:
    """A run prints one JSON document with exactly the agreed keys, whose counts add up, and nothing else."""
    # when
    typed = limner("run", "words", project / "words.jsonl", "--json", project=project)

    # then
    found = typed.document()
    assert set(found) == SUMMARY
    assert (typed.status, found["records"], found["done"], found["inferred"]) == (0, 3, 3, 3)


def test_second_run_infers_nothing(project: Path) -> None:
    """A run in which nothing changed says that all of it was found current."""
    # given
    limner("run", "words", project / "words.jsonl", project=project)

    # when
    found = limner("run", "words", "--json", project=project).document()

    # then
    assert (found["inferred"], found["reused"], found["done"]) == (0, 3, 3)


def test_failures_are_named_with_the_next_command(project: Path) -> None:
    """A run with a failed record has status 1, names the code, and says how to look and how to try again."""
    # given
    (project / "broken").write_text("two", encoding="utf-8")

    # when
    typed = limner("run", "words", project / "words.jsonl", project=project)

    # then
    job = limner("jobs", "--json", project=project).document()["jobs"][0]["id"]
    assert typed.status == 1
    assert "2 done, 1 failed" in typed.out
    assert "MODEL_ERROR" in typed.out
    assert f"limner failures {job}" in typed.out
    assert f"limner retry {job}" in typed.out


def test_retry_without_a_job_takes_the_newest_that_failed(project: Path) -> None:
    """What was mended is tried again, and no healthy record with it."""
    # given
    (project / "broken").write_text("two", encoding="utf-8")
    limner("run", "words", project / "words.jsonl", project=project)
    (project / "broken").unlink()
    (project / "calls").unlink()

    # when
    typed = limner("retry", "--failed", "--json", project=project)

    # then
    found = typed.document()
    assert (typed.status, found["done"], found["failed"]) == (0, 3, 0)
    assert (project / "calls").read_text().split() == ["two"]


def test_retry_where_nothing_failed_is_refused(project: Path) -> None:
    """With nothing to retry the command says so, with status 2 and nothing on standard output."""
    # given
    limner("run", "words", project / "words.jsonl", project=project)

    # when
    typed = limner("retry", "--json", project=project)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert "nothing to retry" in typed.err


def test_several_sources_are_one_job(project: Path) -> None:
    """Two files named in one command are taken in by one job."""
    # given
    (project / "more.jsonl").write_text('{"id": "more", "text": "four"}\n', encoding="utf-8")

    # when
    found = limner(
        "run", "words", project / "words.jsonl", project / "more.jsonl", "--json", project=project
    ).document()

    # then
    assert (found["records"], found["done"]) == (4, 4)
    assert len(limner("jobs", "--json", project=project).document()["jobs"]) == 1


def test_ids_narrow_a_run(project: Path) -> None:
    """Only the named records are worked on, several with commas or several times."""
    # when
    found = limner(
        "run", "words", project / "words.jsonl", "--ids", "w/one.txt,w/two.txt", "--ids", "w/one.txt", "--json",
        project=project,
    ).document()  # fmt: skip

    # then
    assert found["records"] == 2


def test_windows_narrow_a_run(tmp_path: Path) -> None:
    """The first day belongs to a window and the last does not."""
    # given
    project = write_project(tmp_path)
    days = ["2024-02-01", "2024-02-02", "2024-02-03"]
    rows = [{"id": day, "text": day, "modifiedTime": f"{day}T00:00:00Z"} for day in days]
    (project / "days.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    # when
    found = limner(
        "run", "words", project / "days.jsonl", "--since", "2024-02-01", "--until", "2024-02-03", "--json",
        project=project,
    ).document()  # fmt: skip

    # then
    assert found["records"] == 2


def test_chosen_implementation_runs(project: Path) -> None:
    """A job runs the implementation that it chooses in place of the default."""
    # when
    typed = limner("run", "words", project / "words.jsonl", "--choose", "shout=whisper", "--json", project=project)

    # then
    assert typed.document()["done"] == 3
    assert not (project / "calls").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--ids", ""], "--ids"),
        (["--ids", "nobody"], "nobody"),
        (["--since", "yesterday"], "--since"),
        (["--since", "2024-02-02", "--until", "2024-02-02"], "--until"),
        (["--choose", "shout"], "--choose"),
        (["--choose", "shout=scream"], "whisper"),
    ],
)
def test_scope_that_makes_no_sense_is_refused(worked: Path, options: list[str], named: str) -> None:
    """An empty or unknown scope is a mistake of the user: status 2, a sentence, nothing on standard output."""
    # when
    typed = limner("run", "words", *options, "--json", project=worked)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert named in typed.err


def test_plan_says_what_is_stale_and_why(project: Path) -> None:
    """A plan as JSON has the agreed keys, and runs nothing."""
    # given
    limner("run", "words", project / "words.jsonl", project=project)
    code = (project / "inferrers.py").read_text(encoding="utf-8")
    (project / "inferrers.py").write_text(code.replace('version = "1"', 'version = "2"'), encoding="utf-8")
    (project / "calls").unlink()

    # when
    found = limner("plan", "words", "--json", project=project).document()

    # then
    (stage,) = found["stages"].values()
    assert set(found) == {"stages", "records", "downloads", "waiting"}
    assert (stage["stale"], stage["reasons"]) == (3, {"version": 3})
    assert stage["seconds"] is not None
    assert not (project / "calls").exists()


def test_plan_is_narrowed_as_a_run_is(worked: Path) -> None:
    """A plan takes the scopes of a run, and one that holds no record is refused."""
    # when
    some = limner("plan", "words", "--full", "--ids", "w/one.txt", "--since", "1970-01-01", "--json", project=worked)
    none = limner("plan", "words", "--until", "1969-12-31", "--json", project=worked)

    # then
    assert (some.status, some.document()["stages"]["shout"]["stale"]) == (0, 0)
    assert (none.status, none.out) == (2, "")


def test_plan_for_a_person_says_that_all_is_current(worked: Path) -> None:
    """Where nothing is stale, a plan says so in a line."""
    assert limner("plan", "words", project=worked).out == "words: 3 records, all of it current.\n"


def test_rows_that_are_no_records_are_told(project: Path) -> None:
    """A row that cannot become a record is counted by the run and told by its job, with its line and why."""
    # given
    with (project / "words.jsonl").open("a", encoding="utf-8") as file:
        file.write("not JSON\n")

    # when
    typed = limner("run", "words", project / "words.jsonl", project=project)

    # then
    job = limner("jobs", "--json", project=project).document()["jobs"][0]["id"]
    assert f"limner jobs {job}" in typed.out
    (row,) = limner("jobs", job, "--json", project=project).document()["rows_set_aside"]
    assert (row["row"], row["excerpt"]) == ("4", "not JSON")


def test_cancel_of_an_ended_job_is_refused(worked: Path) -> None:
    """A job that has ended cannot be cancelled: status 2 and a sentence."""
    # given
    job = limner("jobs", "--json", project=worked).document()["jobs"][0]["id"]

    # when
    typed = limner("cancel", job, project=worked)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert "cannot become" in typed.err
