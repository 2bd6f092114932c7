"""Files of clients, and the artifacts that a project may hand out."""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from sqlalchemy import select

from limner.errors import ArtifactMissing, NotFound
from limner.store.base import Noun
from limner.store.dialect import insert_missing
from limner.store.door_tables import files, held_artifacts
from limner.store.records import chunks


class StoredFile(Struct, frozen=True, kw_only=True):
    """A file that a client uploaded, or that was made for one; its bytes are an artifact."""

    id: str
    #: Name that the client gave it.
    name: str
    purpose: str
    sha256: str
    #: Bytes.
    size: int
    created: float


class HeldArtifact(Struct, frozen=True, kw_only=True):
    """An artifact that belongs to this project."""

    sha256: str
    #: Bytes.
    size: int
    #: Media type; empty where it is not known.
    kind: str = ""


class Files(Noun):
    """Files, within one transaction."""

    def add(self, file: StoredFile) -> None:
        """Insert a file."""
        self.connection.execute(
            files.insert().values(
                id=file.id,
                name=file.name,
                purpose=file.purpose,
                sha256=file.sha256,
                bytes=file.size,
                created=file.created,
            )
        )

    def get(self, identity: str) -> StoredFile:
        """
        The file.

        Raises:
            NotFound: there is none with this id.
        """
        row = self.connection.execute(select(files).where(files.c.id == identity)).first()
        if row is None:
            raise NotFound(f"There is no file {identity}.")
        return StoredFile(
            id=row.id, name=row.name, purpose=row.purpose, sha256=row.sha256, size=row.bytes, created=row.created
        )


class HeldArtifacts(Noun):
    """The artifacts that results of this store name or that were uploaded to it: all that may be handed out."""

    def add(self, given: Iterable[HeldArtifact], *, at: float) -> None:
        """Remember artifacts; one that is held already stays as it is."""
        columns = ("sha256", "bytes", "kind", "at")
        self.insert_all(
            "hold artifacts",
            lambda: insert_missing(held_artifacts, key=("sha256",), connection=self.connection),
            columns=columns,
            rows=[(one.sha256, one.size, one.kind, at) for one in given],
        )

    def get(self, sha256: str) -> HeldArtifact:
        """
        The artifact, if it is of this project.

        Raises:
            ArtifactMissing: it is not, whether or not another project holds the same bytes.
        """
        row = self.connection.execute(select(held_artifacts).where(held_artifacts.c.sha256 == sha256)).first()
        if row is None:
            raise ArtifactMissing(sha256)
        return HeldArtifact(sha256=row.sha256, size=row.bytes, kind=row.kind)

    def missing(self, digests: Sequence[str]) -> list[str]:
        """Those of *digests* that are not held, in the order given."""
        found: set[str] = set()
        for chunk in chunks(digests):
            query = select(held_artifacts.c.sha256).where(held_artifacts.c.sha256.in_(chunk))
            found.update(self.connection.execute(query).scalars())
        return [digest for digest in digests if digest not in found]
