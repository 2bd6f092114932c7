"""Search, index and audit by command."""

import shutil
from pathlib import Path

import pytest

from tests.cli.cases import limner, write_project

pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose records are all current and indexed."""
    folder = write_project(tmp_path_factory.mktemp("indexed"))
    assert limner("run", "words", folder / "words.jsonl", project=folder).status == 0
    return folder


def test_search_finds_by_words_and_comparisons(indexed: Path) -> None:
    """Words and comparisons narrow each other, and the answer is one JSON document with ids, scores and a total."""
    # when
    both = limner("search", "words", "one", "--where", "shout.loud=ONE", "--json", project=indexed).document()
    none = limner("search", "words", "one", "--where", "shout.loud=TWO", "--json", project=indexed).document()

    # then
    assert [hit["id"] for hit in both["hits"]] == ["w/one.txt"]
    assert (both["total"], none["total"], none["hits"]) == (1, 0, [])


def test_search_for_a_person_tells_how_many_there_are(indexed: Path) -> None:
    """The text of an answer shows the hits asked for and how many there are in all."""
    # when
    typed = limner("search", "words", "-n", "2", project=indexed)

    # then
    assert typed.status == 0
    assert "w/one.txt" in typed.out
    assert typed.out.splitlines()[-1] == "2 of 3"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["search", "nobody"], "words"),
        (["search", "words", "--where", "nothing=1"], "nothing"),
        (["search", "words", "--by", "colour"], "--by"),
        (["search", "words", "--by", "colour=red"], "colour"),
        (["search", "words", "--file", "nowhere.jpg"], "nowhere.jpg"),
        (["search", "words", "--similar", "w/one.txt"], ""),
    ],
)
def test_query_that_cannot_be_asked_is_refused(indexed: Path, words: list[str], named: str) -> None:
    """A query that names what is not there is a user's mistake: status 2 and nothing on standard output."""
    # when
    typed = limner(*words, "--json", project=indexed)

    # then
    assert (typed.status, typed.out) == (2, "")
    assert named in typed.err
    assert "Traceback" not in typed.err


def test_audit_of_a_whole_project_finds_nothing(indexed: Path) -> None:
    """Where nothing is missing an audit has status 0, for one pipeline and for all that were run."""
    # when
    one = limner("audit", "words", "--source", indexed / "words.jsonl", "--json", project=indexed)
    every = limner("audit", "--json", project=indexed)

    # then
    assert (one.status, every.status) == (0, 0)
    assert one.document()["clean"]
    assert list(every.document()["pipelines"]) == ["words"]


def test_lost_index_is_found_and_built_anew(indexed: Path, tmp_path: Path) -> None:
    """An audit names what the index lacks, and the one command that rebuilds an index closes the gap."""
    # given
    project = tmp_path / "copy"
    shutil.copytree(indexed, project)
    shutil.rmtree(project / ".limner" / "index")

    # when
    before = limner("audit", "words", "--json", project=project)
    built = limner("index", "words", "--json", project=project)
    after = limner("audit", "words", "--json", project=project)

    # then
    assert (before.status, before.document()["pipelines"]["words"]["classes"]["missing"]["count"]) == (1, 3)
    assert built.status == 0
    assert (after.status, after.document()["clean"]) == (0, True)


def test_failed_records_keep_an_audit_from_being_clean(worked: Path) -> None:
    """A failed record is a gap: status 1, its id, and the command that tries it again."""
    # when
    typed = limner("audit", "words", project=worked)

    # then
    assert typed.status == 1
    assert "w/two.txt" in typed.out
    assert "limner retry --failed" in typed.out
