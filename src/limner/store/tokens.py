"""Tokens: who may do what in which project; only the digest of a token is kept."""

from typing import TypeAlias

from msgspec import Struct
from sqlalchemy import Row, insert, select, update

from limner.errors import NotFound
from limner.store.base import Noun
from limner.store.door_tables import tokens

_Row: TypeAlias = Row[tuple[str, str, str, str, bytes, float, float | None, float | None, float | None]]


class StoredToken(Struct, frozen=True, kw_only=True):
    """One token as it stands in the store."""

    id: str
    #: What its owner calls it.
    name: str
    #: The one project that it is bound to; ``*`` is all of them.
    project: str
    #: ``submit``, ``read``, ``work``, ``work:STAGE``, ``admin``.
    scopes: tuple[str, ...]
    #: SHA-256 of the token.
    digest: bytes
    created: float
    expires: float | None = None
    revoked: float | None = None
    #: When it was last used, to the minute.
    used: float | None = None


class Tokens(Noun):
    """Tokens, within one transaction."""

    def add(self, token: StoredToken) -> None:
        """Insert a token."""
        self.connection.execute(
            insert(tokens).values(
                id=token.id,
                name=token.name,
                project=token.project,
                scopes=" ".join(token.scopes),
                digest=token.digest,
                created=token.created,
                expires=token.expires,
            )
        )

    def find(self, digest: bytes) -> StoredToken | None:
        """The token with this digest, expired and revoked ones included."""
        row = self.connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
        return None if row is None else _token(row)

    def listing(self) -> list[StoredToken]:
        """All tokens, the oldest first."""
        return [_token(row) for row in self.connection.execute(select(tokens).order_by(tokens.c.created, tokens.c.id))]

    def any(self) -> bool:
        """Whether a token was ever made here, expired and revoked ones included."""
        return self.connection.execute(select(tokens.c.id).limit(1)).first() is not None

    def revoke(self, identity: str, *, at: float) -> None:
        """
        Let a token hold no longer; one that was revoked before keeps its time.

        Raises:
            NotFound: there is none with this id.
        """
        query = select(tokens.c.revoked).where(tokens.c.id == identity)
        row = self.connection.execute(query).first()
        if row is None:
            raise NotFound(f"There is no token {identity}; `limner token list` lists them.")
        if row.revoked is None:
            self.connection.execute(update(tokens).where(tokens.c.id == identity).values(revoked=at))

    def note_use(self, identity: str, *, at: float) -> None:
        """Remember when a token was last used."""
        self.connection.execute(update(tokens).where(tokens.c.id == identity).values(used=at))


def _token(row: _Row) -> StoredToken:
    return StoredToken(
        id=row.id,
        name=row.name,
        project=row.project,
        scopes=tuple(row.scopes.split()),
        digest=row.digest,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
        used=row.used,
    )
