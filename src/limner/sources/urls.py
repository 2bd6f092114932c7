"""Source of a list of addresses: one URL a line, lines that start with # passed over."""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from limner.domain.records import NotARecord, RecordIn, SetAside
from limner.sources.base import MAX_ID, Found, Source, aside, checked
from limner.sources.lines import MAX_LINE, numbered_lines, open_bytes

_SCHEMES = ("http", "https", "file", "s3")


class UrlList(Source):
    """
    A text file of absolute URLs.

    A record's id is its URL, or ``sha256:`` and the URL's digest where that would be too long for an id; its fields
    are the address under the name that the pipeline reads, and ``title``, the last part of its path.
    """

    def __init__(self, path: Path, *, collection: str, address_field: str = "image_url") -> None:
        super().__init__(collection=collection)
        self._path = path
        self._address = address_field

    def describe(self) -> str:
        """What it is, for a person."""
        return f"addresses from {self._path}"

    def rows(self) -> Iterator[Found | SetAside]:
        """Every line that is neither blank nor a comment."""
        with open_bytes(self._path) as stream:
            for number, line in numbered_lines(stream, name=str(self._path)):
                if line is None:
                    yield aside(number, f"The line is longer than {MAX_LINE} bytes.")
                elif line.strip() and not line.lstrip().startswith(b"#"):
                    yield self._row(line.strip(), number=number)

    def _row(self, line: bytes, *, number: int) -> Found | SetAside:
        text = line.decode(errors="replace")
        try:
            records = checked([self._record(line.decode())])
        except UnicodeDecodeError:
            return aside(number, "It is not UTF-8.", text=text)
        except NotARecord as error:
            return aside(number, str(error), text=text)
        return Found(row=number, records=records, excerpt=text[:200])

    def _record(self, url: str) -> RecordIn:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise NotARecord(f"It is no address: {error}.") from error
        if parts.scheme not in _SCHEMES or not (parts.netloc or parts.path.startswith("/")):
            raise NotARecord(f"It is no absolute address ({', '.join(_SCHEMES)}).")
        name = PurePosixPath(unquote(parts.path)).name
        long = len(url.encode()) > MAX_ID
        return RecordIn(
            collection=self.collection,
            id=f"sha256:{hashlib.sha256(url.encode()).hexdigest()}" if long else url,
            fields={self._address: url} | ({"title": name} if name else {}),
        )
