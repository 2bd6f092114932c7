"""The schema and the migrations that make it."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, text

from limner.domain.values import encode
from limner.errors import ConfigurationError, StoreUnavailable
from limner.store.connect import connect_store
from limner.store.dialect import begin, open_engine
from limner.store.migrate import HEAD, configuration
from limner.store.schema import metadata
from limner.store.work_tables import collections, records


def test_migrations_make_the_schema(tmp_path: Path) -> None:
    """A database that all migrations made differs in nothing from the tables as they are declared."""
    url = f"sqlite:///{tmp_path}/limner.db"
    connect_store(url).close()

    with open_engine(url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_newest_migration_is_the_one_that_is_known() -> None:
    """The constant that spares an up-to-date database the migrations names the newest one."""
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


def test_database_of_the_first_schema_opens_with_its_records(tmp_path: Path) -> None:
    """What an early Limner wrote is read by this one."""
    url = f"sqlite:///{tmp_path}/limner.db"
    engine, config = open_engine(url), configuration()
    with engine.connect() as connection:
        begin(connection, writing=True)
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(insert(collections).values(pk=1, name="things"))
        old = {"pk": 1, "collection": 1, "id": "a", "state": 0, "digest": b"d", "fields": encode({"x": 1})}
        connection.execute(insert(records).values(**old))
        connection.commit()
    engine.dispose()

    with connect_store(url).reading() as tx:
        found = tx.records.load([1])

    assert found[1].values() == {"x": 1}


def test_database_of_a_newer_limner_is_refused(tmp_path: Path) -> None:
    """A store whose schema is not known is left alone, and the sentence says what to do."""
    url = f"sqlite:///{tmp_path}/limner.db"
    connect_store(url).close()
    with open_engine(url).connect() as connection:
        begin(connection, writing=True)
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()

    with pytest.raises(StoreUnavailable, match="another Limner"):
        connect_store(url)


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A file of something else is not overwritten."""
    file = tmp_path / "limner.db"
    file.write_text("this is a letter, not a database" * 50)

    with pytest.raises(StoreUnavailable):
        connect_store(f"sqlite:///{file}")

    assert file.read_text().startswith("this is a letter")


@pytest.mark.parametrize("url", ["nonsense", "oracle://host/name", "redis://host"])
def test_url_that_no_store_speaks_is_refused(url: str) -> None:
    """The sentence names the setting."""
    with pytest.raises(ConfigurationError, match="`store`"):
        connect_store(url)
