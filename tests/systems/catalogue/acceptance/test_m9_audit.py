"""M9: an audit names every gap in its class, and a repair closes it with only what is missing recomputed."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from limner.app.app import App
from limner.search.base import Document
from tests.systems.catalogue.acceptance.test_q5_reinference import inferred, tasks
from tests.systems.catalogue.conftest import Library
from tests.systems.catalogue.projects import limner


def delete_result(project: Path, identity: str, *, stage: str) -> None:
    """Delete one result from the store, as a careless hand would."""
    with closing(sqlite3.connect(project / ".limner" / "limner.db")) as store, store:
        node = store.execute("select pk from nodes where stage = ?", [stage]).fetchone()[0]
        record = store.execute("select pk from records where id = ?", [identity]).fetchone()[0]
        gone = store.execute("delete from results where record = ? and node = ?", [record, node]).rowcount
    assert gone == 1


def plant(app: App, *, deleted: str, mixed: str) -> None:
    """Take one row out of the index, add a stray one, and let one claim another version."""
    (index,) = [i for one, i in app.open_indexes("catalogue").items() if one.collection == "images"]
    with closing(index):
        (row,) = [row for row in index.rows() if row.id == mixed]
        other = Document(
            id=mixed,
            filters={"palette.average_color_hex": "#000000"},
            versions={"palette.average_color_hex": "0" * 32},
            complete=row.complete,
        )
        index.apply([other, Document(id="stray")], deletes=[deleted])


def test_m9_audit_and_repair(copied: Library) -> None:
    """A row out of the index, a result deleted, a stray row and one of another version: named, then mended."""
    # given
    deleted, mixed, lost = copied.ids[:3]
    with copied.project.open() as app:
        clean = app.audit("catalogue")
        plant(app, deleted=deleted, mixed=mixed)
    delete_result(copied.project.folder, lost, stage="palette")

    # when
    with copied.project.open() as app:
        found = app.audit("catalogue")
        before = tasks(app)
        repaired = app.audit("catalogue", repair=True)
        after = tasks(app)

    # then
    assert clean.clean
    assert not found.clean
    assert {deleted, lost} <= set(found.classes["missing"].ids)
    assert found.classes["extra"].ids == ["stray"]
    assert found.classes["mixed"].ids == [mixed]
    assert repaired.clean
    made = inferred(before, after)
    assert made.pop("palette") == 1
    assert set(made) <= {"work_summary"}


def test_m9_exit_status(copied: Library) -> None:
    """The command ends with 1 where there is a gap, says all of it as JSON, and with 0 once it is repaired."""
    # given
    with copied.project.open() as app:
        plant(app, deleted=copied.ids[0], mixed=copied.ids[1])

    # when
    broken = limner(copied.project, "audit", "catalogue", "--json")
    repaired = limner(copied.project, "audit", "catalogue", "--repair")
    clean = limner(copied.project, "audit", "catalogue")

    # then
    assert broken.returncode == 1
    assert json.loads(broken.stdout)["pipelines"]["catalogue"]["classes"]["extra"] == {"count": 1, "ids": ["stray"]}
    assert (repaired.returncode, clean.returncode) == (0, 0), repaired.stdout + repaired.stderr


def test_m9_source_is_compared(copied: Library) -> None:
    """A row of the source that never came in is missing, and a record that the source dropped is extra."""
    # given
    rows = [picture.fields(base=copied.server.url("")) for picture in copied.drawn.pictures]
    source = copied.project.records([*rows[1:], {"id": "never", "image_url": copied.server.url("x.jpg")}])

    # when
    with copied.project.open() as app:
        found = app.audit("catalogue", source=source)

    # then
    assert found.classes["missing"].ids == ["never"]
    assert found.classes["extra"].ids == [rows[0]["id"]]
