"""A store and an index on PostgreSQL, from end to end: a run, questions of every kind, two servers, and a doctor."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner.app.app import App, open_app
from limner.app.doctor import State, examine
from limner.app.projects import project_of
from limner.errors import SearchUnavailable
from limner.search.base import Page, Query
from limner.settings import load_project
from tests.app.hosts import ask, at_work, things
from tests.search.databases import index_url
from tests.store.databases import schema_url
from tests.systems.catalogue.conftest import Library, library  # noqa: F401  # a fixture
from tests.waiting import until
from tools.services import free_port

NUMBERS = """
from limner import Index, Number, Pipeline, Stage

pipeline = Pipeline("numbers", collection="things", index=Index(text=["title"], filters=["n"]), stages=[
    Stage("double", infer="inferrers:double", reads={"n": "n"}, outputs={"value": Number()}),
])
"""
DOUBLE = """
def double(n: int) -> dict:
    return {"value": 2 * n}
"""


@pytest.fixture
def places(require_service: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Settings: a store and an index in one schema of a server."""
    server = require_service("postgresql")
    with schema_url(server) as store, index_url(server) as index:
        yield {"store": store, "index": index}


def found(page: Page) -> list[str]:
    """The ids of a page."""
    return [hit.id for hit in page.hits]


def test_the_catalogue_finds_the_same_on_postgresql(
    library: Library,  # noqa: F811  # the fixture
    places: dict[str, str],
    tmp_path: Path,
) -> None:
    """The same records, run on a store and an index on PostgreSQL, are found by every kind of question as in files."""
    # given
    folder = tmp_path / "cat"
    shutil.copytree(library.project.folder, folder, ignore=shutil.ignore_patterns(".limner"))
    one, other = library.ids[:2]
    questions: list[dict[str, object]] = [
        {"text": "plate"},
        {"similar": one},
        {"similar": other, "on": "palette.vector", "where": ["licence=pdm"]},
        {"by": {"colour": "22bbff"}},
        {"where": ["aspect_ratio.value>=1"]},
        {"text": library.ids[2].upper()},
    ]

    # when
    with open_app(folder, **places) as app:
        app.run("catalogue", folder / "works.jsonl", collection="works")
        summary = app.run("catalogue", folder / "images.jsonl")
        ours = [app.search("images", limit=40, **asked) for asked in questions]  # type: ignore[arg-type]  # as written above
        audit = app.audit("catalogue")
    with library.project.open() as app:
        theirs = [app.search("images", limit=40, **asked) for asked in questions]  # type: ignore[arg-type]  # the same

    # then
    assert (summary.done, summary.failed) == (library.summary.done, library.summary.failed)
    assert audit.clean
    for asked, page, expected in zip(questions, ours, theirs, strict=True):
        assert page.total == expected.total > 0, asked
        assert found(page) == found(expected), asked
        assert [hit.score for hit in page.hits] == [
            hit.score if hit.score is None else pytest.approx(hit.score, abs=1e-6) for hit in expected.hits
        ]
    assert not (folder / ".limner" / "index").exists()


def project(folder: Path) -> Path:
    """A project of numbers."""
    folder.mkdir()
    (folder / "pipeline.py").write_text(NUMBERS)
    (folder / "inferrers.py").write_text(DOUBLE)
    return folder


def records(app: App, *numbers: int) -> Path:
    """A file of so many records for *app*."""
    file = app.project.folder / "records.jsonl"
    file.write_text("".join(json.dumps({"id": f"r{n}", "n": n, "title": f"bread number{n}"}) + "\n" for n in numbers))
    return file


def test_another_machine_finds_what_one_indexed(places: dict[str, str], tmp_path: Path) -> None:
    """What one project folder ran is found from another one, which kept its index open before."""
    with open_app(project(tmp_path / "one"), **places) as one, open_app(project(tmp_path / "two"), **places) as two:
        one.run("numbers", records(one, 1, 2))
        assert found(two.search("things", "bread")) == ["r1", "r2"]
        one.run("numbers", records(one, 3))
        assert sorted(found(two.search("things", "bread"))) == ["r1", "r2", "r3"]
        one.reindex("numbers")
        assert found(two.search("things", where=["double.value>=4"])) == ["r2", "r3"]


def test_only_the_server_that_leads_writes_a_shared_index(places: dict[str, str], tmp_path: Path) -> None:
    """A server that stands by follows nothing into the index; it answers from what the other one wrote."""
    # given
    settings = "".join(f'{name} = "{place}"\n' for name, place in places.items())
    for name in ("stands", "leads"):
        project(tmp_path / name)
    with at_work(tmp_path / "stands", pipeline=NUMBERS, settings=settings, leads=False) as standing:
        host = standing.host("default")

        # when
        for follow in host.followers:
            follow()

        # then
        with pytest.raises(SearchUnavailable):
            host.app.indexes.open("numbers.things").search(Query())

        # when
        with at_work(tmp_path / "leads", pipeline=NUMBERS, settings=settings) as leading:
            leading.host("default").intaking.submit(ask(things(3)))
            index = host.app.indexes.open("numbers.things")
            until(lambda: index.generations() and index.generations()[0].documents == 3)

        # then
        assert found(index.search(Query())) == ["r0", "r1", "r2"]


def test_doctor_names_an_index_that_cannot_be_reached(tmp_path: Path) -> None:
    """A server that is not there is wrong, with what to do, and its password is not told; search says the same."""
    folder, port = project(tmp_path / "p"), free_port()
    index = f"postgresql://limner:secret@127.0.0.1:{port}/db"
    with open_app(folder) as app:
        app.run("numbers", records(app, 1))
    findings = examine(folder, options={"index": index})
    [finding] = [finding for finding in findings if finding.part == "index of numbers"]
    assert finding.state is State.WRONG
    assert str(port) in finding.said
    assert "`index`" in finding.remedy
    assert "secret" not in finding.said
    with open_app(folder, index=index) as app, pytest.raises(SearchUnavailable, match=str(port)):
        app.search("things", "bread")


def test_a_project_has_a_schema_of_its_own(tmp_path: Path) -> None:
    """Further projects of one folder keep their indexes apart from the first one's, as they do their stores."""
    root = load_project(project(tmp_path / "p"), environment={}, options={"index": "postgresql://limner@h/db"})
    assert project_of(root, "moths").settings.index == "postgresql://limner@h/db?schema=limner_moths"
