"""Models: their versions, aliases, and every move of an alias."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec import Struct
from sqlalchemy import func, insert, select, update

from limner.domain.models import ModelVersion
from limner.errors import NotFound
from limner.store.base import Noun
from limner.store.dialect import upsert
from limner.store.work_tables import alias_moves, aliases, models


class MoveKind(StrEnum):
    """Which way an alias moved."""

    #: On to a version that was named.
    PROMOTED = "promoted"
    #: Back to the version before.
    ROLLED_BACK = "rolled back"


class AliasMove(Struct, frozen=True, kw_only=True):
    """One move of an alias."""

    name: str
    alias: str
    old: int | None
    new: int
    kind: MoveKind = MoveKind.PROMOTED
    at: float
    by: str
    #: Why the gate would have refused; only a forced move has reasons.
    reasons: Sequence[str]


_decoder = msgspec.msgpack.Decoder(ModelVersion)


class Models(Noun):
    """Models, within one transaction."""

    def add(self, version: ModelVersion) -> None:
        """Insert a version of a model; its number is one that :meth:`next_number` gave."""
        self.connection.execute(
            insert(models).values(
                name=version.name,
                number=version.number,
                sha256=version.sha256,
                created=version.created,
                detail=msgspec.msgpack.encode(version),
            )
        )

    def replace(self, version: ModelVersion) -> None:
        """Overwrite what is known of a version; its name, number and file stay."""
        self.connection.execute(
            update(models)
            .where(models.c.name == version.name, models.c.number == version.number)
            .values(detail=msgspec.msgpack.encode(version))
        )

    def next_number(self, name: str) -> int:
        """The number that the next version of a model gets."""
        query = select(func.coalesce(func.max(models.c.number), 0) + 1).where(models.c.name == name)
        return int(self.connection.execute(query).scalar_one())

    def listing(self, name: str | None = None) -> list[ModelVersion]:
        """All versions, of one model if asked, by name and number."""
        query = select(models.c.detail).order_by(models.c.name, models.c.number)
        query = query.where(models.c.name == name) if name else query
        return [_decoder.decode(detail) for detail in self.connection.execute(query).scalars()]

    def get(self, name: str, number: int) -> ModelVersion:
        """
        One version of a model.

        Raises:
            NotFound: there is none of this name and number.
        """
        query = select(models.c.detail).where(models.c.name == name, models.c.number == number)
        detail = self.connection.execute(query).scalar_one_or_none()
        if detail is None:
            raise NotFound(f"There is no model {name}@{number}; `limner models` lists them.")
        return _decoder.decode(detail)

    def find(self, reference: str) -> ModelVersion | None:
        """
        The version that ``name@alias``, ``name@number`` or ``name`` (its champion) names; None if there is none.
        """
        name, _, which = reference.partition("@")
        number = int(which) if which.isdigit() else self.aliases(name).get(which or "champion")
        known = {version.number: version for version in self.listing(name)}
        return known.get(number) if number is not None else None

    def aliases(self, name: str) -> dict[str, int]:
        """The aliases of a model and the numbers that they stand for."""
        rows = self.connection.execute(select(aliases.c.alias, aliases.c.number).where(aliases.c.name == name))
        return {row[0]: row[1] for row in rows}

    def move_alias(self, moved: AliasMove) -> None:
        """Let an alias stand for another version, and remember who moved it."""
        row = {"name": moved.name, "alias": moved.alias, "number": moved.new}
        self.connection.execute(upsert(aliases, key=("name", "alias"), connection=self.connection).values(**row))
        self.connection.execute(
            insert(alias_moves).values(
                name=moved.name,
                alias=moved.alias,
                old=moved.old,
                new=moved.new,
                kind=moved.kind.value,
                at=moved.at,
                by=moved.by,
                reasons="\n".join(moved.reasons),
            )
        )

    def moves(self, name: str) -> list[AliasMove]:
        """Every move of a model's aliases, oldest first."""
        query = select(alias_moves).where(alias_moves.c.name == name).order_by(alias_moves.c.pk)
        return [
            AliasMove(
                name=row.name,
                alias=row.alias,
                old=row.old,
                new=row.new,
                kind=MoveKind(row.kind),
                at=row.at,
                by=row.by,
                reasons=[reason for reason in row.reasons.split("\n") if reason],
            )
            for row in self.connection.execute(query)
        ]
