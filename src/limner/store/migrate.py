"""Brings a database to this version's schema."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from limner.errors import StoreUnavailable
from limner.store.dialect import begin

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest migration; a test compares it with the folder. Known here so that a database that is up to date
#: is opened without loading Alembic.
HEAD = "0001"


def configuration() -> "Config":
    """Alembic's configuration: the migrations lie beside this file."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def bring_up(engine: Engine) -> None:
    """
    Run the migrations that the database lacks.

    Raises:
        StoreUnavailable: it cannot be opened, or a newer Limner made it.
    """
    try:
        if _revision(engine) != HEAD:
            _upgrade(engine)
    except DBAPIError as error:
        raise StoreUnavailable(f"The store cannot be opened: {error.orig}") from error


def _revision(engine: Engine) -> str | None:
    """The migration that the database is at; None for a new one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return found


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.util import CommandError

    config = configuration()
    try:
        with engine.connect() as connection:
            begin(connection, writing=True)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except CommandError as error:
        message = f"The store was made by another Limner ({error}); use that version, or a store of your own."
        raise StoreUnavailable(message) from error
