"""What the tests of sources share: taking everything a source yields, apart."""

from pathlib import Path

from limner.domain.records import RecordIn, SetAside, Shape
from limner.sources.base import Columns
from limner.sources.connect import connect_source


def taken(
    path: Path,
    *,
    page: int = 10_000,
    collection: str = "images",
    shape: Shape | None = None,
    columns: Columns | None = None,
) -> tuple[list[RecordIn], list[SetAside]]:
    """The records and the rows set aside of the source at *path*."""
    source = connect_source(
        path,
        collection=collection,
        shape=shape.name if shape else None,
        shapes={shape.name: shape} if shape else {},
        columns=columns,
    )
    items = [item for items in source.read(page=page) for item in items]
    return [i for i in items if isinstance(i, RecordIn)], [i for i in items if isinstance(i, SetAside)]


def written(folder: Path, name: str, content: bytes | str) -> Path:
    """A file called *name* with *content*, in UTF-8 where it is text."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
