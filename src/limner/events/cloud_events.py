"""CloudEvents 1.0 in structured JSON: what an event says of itself, and of the record."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from limner.domain.values import Value, plain
from limner.events.base import Message

#: Of a message in structured mode.
CONTENT_TYPE = "application/cloudevents+json"
#: Bytes of one event at most: larger values are left out, and read over the API.
MOST_BYTES = 1_000_000


class Kind(StrEnum):
    """What happened, as the last part of topics; types are ``limner.`` and this."""

    #: A record is new, or its fields or its parent changed.
    RECORD = "record.changed"
    #: A record is gone.
    RETIRED = "record.retired"
    #: Something was said of a record.
    RESULTS = "results.changed"
    #: Another version of an implementation is served: what it says of records may follow, or stand already.
    VERSION = "version.changed"


class RecordData(Struct, frozen=True, kw_only=True):
    """A record as it stands."""

    project: str
    collection: str
    id: str
    #: Collection and id of its parent.
    parent: Sequence[str] | None
    revision: str | None
    source_version: int | None
    #: Left out (null) where the event would be too large.
    fields: Mapping[str, Value] | None


class ResultData(Struct, frozen=True, kw_only=True):
    """What the active version of one implementation says of a record."""

    pipeline: str
    stage: str
    implementation: str
    #: The implementations before it, where they are not the defaults.
    variant: str
    #: ``done``, ``failed`` or ``skipped``.
    status: str
    #: Digest of the version, SHA-256 of its model, digests of what was read and of the value, in hexadecimal.
    version: str
    model: str | None
    read: str
    digest: str
    #: The value of what is done; null otherwise, and where the event would be too large.
    value: Value = None
    #: Code and message of a failure.
    failure: Mapping[str, Value] | None = None
    #: Why it was skipped.
    reason: str | None = None


class ResultsData(Struct, frozen=True, kw_only=True):
    """Everything that is said of a record now: the last event of a record has all of it."""

    project: str
    collection: str
    id: str
    parent: Sequence[str] | None
    results: Sequence[ResultData]


class VersionData(Struct, frozen=True, kw_only=True):
    """The versions that are served now."""

    project: str
    collection: str
    #: Digests by ``pipeline.stage/implementation``.
    versions: Mapping[str, str]


Data = RecordData | ResultsData | VersionData


class CloudEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The envelope; names as in the specification."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str
    #: The journal's number, in twenty digits: grows with each commit.
    sequence: str
    #: Says which events stay in order.
    partitionkey: str
    data: Mapping[str, Value]
    #: Id of the record.
    subject: str | msgspec.UnsetType = field(default=msgspec.UNSET)
    #: Set where values were left out.
    dataref: str | msgspec.UnsetType = field(default=msgspec.UNSET)


class Origin(Struct, frozen=True, kw_only=True):
    """Whose events these are."""

    project: str
    #: Where clients reach the server; tells two of them apart. May be empty.
    public_url: str = ""

    def source(self, collection: str) -> str:
        """The event's source: a collection of a project."""
        path = f"/projects/{quote(self.project, safe='')}/collections/{quote(collection, safe='')}"
        return f"{self.public_url.rstrip('/')}{path}"

    def record(self, collection: str, identity: str) -> str:
        """Where a record is read."""
        path = f"/api/v1/collections/{quote(collection, safe='')}/records/{quote(identity, safe='')}"
        return f"{self.public_url.rstrip('/')}{path}"


def message_of(origin: Origin, kind: Kind, data: Data, *, number: int, at: float, key: str = "") -> Message:
    """The event that tells of *data*, from entry *number* of the journal; *key* names the record within it."""
    subject = getattr(data, "id", None)
    event = CloudEvent(
        specversion="1.0",
        id=f"{number}.{key}" if key else str(number),
        source=origin.source(data.collection),
        type=f"limner.{kind}",
        subject=msgspec.UNSET if subject is None else subject,
        time=datetime.fromtimestamp(at, UTC).isoformat(),
        datacontenttype="application/json",
        sequence=f"{number:020d}",
        partitionkey=f"{data.collection}/{subject or ''}",
        data=msgspec.structs.asdict(data),
    )
    body = _encoded(event, data)
    if len(body) > MOST_BYTES and subject is not None:
        link = origin.record(data.collection, subject)
        body = _encoded(msgspec.structs.replace(event, dataref=link), _without_values(data))
    topic = ".".join((_part(origin.project), _part(data.collection), kind))
    return Message(id=event.id, topic=topic, key=event.partitionkey, body=body)


def _encoded(event: CloudEvent, data: Data) -> bytes:
    """The event with *data* in JSON's types."""
    return msgspec.json.encode(msgspec.structs.replace(event, data=_plain(data)))


def _plain(data: Data) -> dict[str, Value]:
    found: dict[str, Value] = plain(msgspec.structs.asdict(data))
    if isinstance(data, ResultsData):
        found["results"] = [plain(msgspec.structs.asdict(result)) for result in data.results]
    return found


def _without_values(data: Data) -> Data:
    if isinstance(data, ResultsData):
        bare = [msgspec.structs.replace(result, value=None) for result in data.results]
        return msgspec.structs.replace(data, results=bare)
    return msgspec.structs.replace(data, fields=None) if isinstance(data, RecordData) else data


def _part(name: str) -> str:
    """*name* as one part of a topic: a dot would begin another one."""
    return quote(name, safe="-_").replace(".", "%2E")
