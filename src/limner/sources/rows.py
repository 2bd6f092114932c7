"""From one row of named values to a record: which column is the id, the parent, the version."""

from collections.abc import Mapping

from limner.domain.records import NotARecord, RecordIn, RecordKey
from limner.domain.values import Value
from limner.sources.base import Columns
from limner.sources.times import milliseconds

#: Marks a line of a JSONL export, whose fields stand apart from what Limner adds.
ENVELOPE = "record/1"
#: Columns that hold a source version where none is named, the first that has a value.
VERSIONS = ("source_version", "modifiedTime", "modified_time")
_INT64 = range(-(2**63), 2**63)


def record_of(row: Mapping[str, Value], *, collection: str, columns: Columns) -> RecordIn:
    """
    The record that *row* describes; a line of a JSONL export gives back the record that was exported.

    The id, the parent, the revision and ``source_version`` become properties of the record and no fields; a version
    in any other column stays a field as well.

    Raises:
        NotARecord: it has no id, or a value of the wrong type; the text names the column.
    """
    if row.get("limner") is not None:
        return _exported(row, collection=collection)
    fields = dict(row)
    revision = fields.pop(columns.revision, None)
    parent = _parent(fields, columns=columns)
    version = _version(fields, columns=columns)
    identifier = _id(fields.pop(columns.id, None), column=columns.id)
    return RecordIn(
        collection=collection,
        id=identifier,
        fields=fields,
        revision=None if revision is None else str(revision),
        source_version=version,
        parent=parent,
    )


def source_version_of(value: Value, *, column: str) -> int | None:
    """
    A whole number as it is, an ISO-8601 time in milliseconds, None where there is none.

    Raises:
        NotARecord: *value* is neither.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        number = _from_text(value, column=column)
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    else:
        raise NotARecord(f"{column} is {value!r}, neither a whole number nor an ISO-8601 time.")
    if number not in _INT64:
        raise NotARecord(f"{column} is {number}, beyond 64 bits.")
    return number


def _from_text(text: str, *, column: str) -> int:
    # Digits alone are a number, also where they could be read as a date (20250401): versions are counted more often.
    if text.lstrip("+-").isdecimal() and len(text) < 21:
        return int(text)
    try:
        return milliseconds(text)
    except ValueError:
        raise NotARecord(f"{column} is {text!r}, neither a whole number nor an ISO-8601 time.") from None


def _version(fields: dict[str, Value], *, columns: Columns) -> int | None:
    names = VERSIONS if columns.version is None else (columns.version,)
    name = next((name for name in names if fields.get(name) not in (None, "")), None)
    version = None if name is None else source_version_of(fields[name], column=name)
    fields.pop("source_version", None)
    if version is None and columns.version is None:
        # A column of that name may just as well say "second edition", which orders nothing.
        return _count(fields.get("version"))
    return version


def _count(value: Value) -> int | None:
    """*value* where it is a whole number within 64 bits, or the digits of one."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if type(value) is int and value in _INT64 else None


def _id(value: Value, *, column: str) -> str:
    if value is None or value == "":
        raise NotARecord(f"It has no {column}.")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise NotARecord(f"{column} is a {type(value).__name__}; an id is text or a whole number.")
    return str(value)


def _parent(fields: dict[str, Value], *, columns: Columns) -> RecordKey | None:
    """The parent, taken out of *fields*: ``parent: {collection, id}``, or an id in ``parent`` or the column for it."""
    nested = fields.get("parent")
    if isinstance(nested, dict) and set(nested) == {"collection", "id"}:
        del fields["parent"]
        return str(nested["collection"]), _id(nested["id"], column="parent.id")
    column = columns.parent if columns.parent in fields or isinstance(nested, dict | list) else "parent"
    identifier = fields.pop(column, None)
    named = fields.pop("parent_collection", None)
    if identifier is None or identifier == "":
        return None
    collection = named or columns.parent_collection
    if not isinstance(collection, str):
        raise NotARecord(f"{column} names a parent without its collection; add a column parent_collection or set it.")
    return collection, _id(identifier, column=column)


def _exported(row: Mapping[str, Value], *, collection: str) -> RecordIn:
    """The record of a line of a JSONL export; values and provenance are results, and no part of a record."""
    if row["limner"] != ENVELOPE:
        raise NotARecord(f"It says limner: {row['limner']!r}; this version reads {ENVELOPE}.")
    fields, parent, revision = row.get("fields"), row.get("parent"), row.get("revision")
    if not isinstance(fields, dict):
        raise NotARecord("It is a line of an export without fields.")
    if not isinstance(parent, dict | None) or not isinstance(revision, str | None):
        raise NotARecord("It is a line of an export whose parent or revision has the wrong type.")
    return RecordIn(
        collection=collection,
        id=_id(row.get("id"), column="id"),
        fields=fields,
        revision=revision,
        source_version=source_version_of(row.get("source_version"), column="source_version"),
        parent=None if parent is None else (str(parent.get("collection")), _id(parent.get("id"), column="parent.id")),
    )
