"""Schemas of the OpenAPI document: those of answers are made from the nouns, those of requests stand here."""

import inspect
import re
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Union

import msgspec
from msgspec import NODEFAULT, Struct, structs
from pydantic import BaseModel, ConfigDict, Field, create_model

from limner.domain.values import Value

_COMMENT = re.compile(r"((?:^ +#: .*\n)+)^ +(\w+): ", re.MULTILINE)
Name = Annotated[str, Field(min_length=1, max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=1024)]


@cache
def model_of(kind: type[Struct]) -> type[BaseModel]:
    """The pydantic model of a noun: its fields, their types, what its comments say of them."""
    hints = typing.get_type_hints(kind)
    told = _comments(kind)
    fields: dict[str, typing.Any] = {}  # noqa: ANN401 RUF100  create_model takes anything as a field
    for one in structs.fields(kind):
        shown = _shown(hints[one.name])
        required = one.default is NODEFAULT and one.default_factory is NODEFAULT
        # What an answer always holds is required, also where the noun has a default for it.
        left_out = kind.__struct_config__.omit_defaults
        default = ... if required or not left_out else None
        fields[one.encode_name] = (
            shown if default is ... else shown | None,
            Field(default=default, description=told.get(one.name)),
        )
    described = (inspect.getdoc(kind) or "").strip()
    return create_model(kind.__name__, __doc__=described, __config__=ConfigDict(title=kind.__name__), **fields)


def page_of(kind: type[Struct]) -> type[BaseModel]:
    """The pydantic model of a page of nouns."""
    inner = model_of(kind)
    name = f"{kind.__name__}Page"
    return create_model(
        name,
        __doc__=f"Some of many: {inner.__doc__}",
        items=(list[inner], ...),  # type: ignore[valid-type]  # made at run time
        next=(str | None, Field(default=None, description="Cursor of the next page; null on the last one.")),
    )


def _comments(kind: type[Struct]) -> dict[str, str]:
    """What the comments above the fields of a class say."""
    try:
        source = inspect.getsource(kind)
    except OSError:
        return {}
    return {name: " ".join(re.findall(r"#: (.*)", block)) for block, name in _COMMENT.findall(source)}


def _shown(hint: object) -> typing.Any:  # noqa: ANN401  a type in pydantic's terms
    """A type of a noun as pydantic knows it; whatever a value may be is anything."""
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Struct):
        return model_of(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if origin in (Union, UnionType):
        shown = [_shown(one) for one in given if one is not NoneType]
        found = shown[0]
        for one in shown[1:]:
            found = found | one
        return found | None if NoneType in given else found
    if origin is not None and issubclass(origin, Mapping):
        return GenericAlias(dict, (str, _shown(given[1])))
    if origin is tuple and len(given) == 2 and given[1] is not ...:
        return GenericAlias(tuple, (_shown(given[0]), _shown(given[1])))
    if origin is not None and issubclass(origin, Sequence | set | frozenset | tuple):
        return GenericAlias(list, (_shown(given[0]),))
    return typing.Any if hint is Value or hint is object else hint


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="One sentence that says what to do.")
    code: str | None = Field(default=None, description="Failure code, where a record failed.")
    retryable: bool | None = Field(default=None, description="Whether the same request may go well later.")
    errors: list[dict[str, str]] | None = Field(default=None, description="Fields that are wrong: field and message.")


class RecordBody(BaseModel):
    """A record as it is sent."""

    model_config = ConfigDict(extra="allow")

    id: Id = Field(description="Opaque; given back exactly as it came.")
    fields: dict[str, typing.Any] | None = Field(
        None, description="Its fields; without this, all other members of the object are its fields."
    )
    revision: str | None = Field(
        default=None, description="Another one says that the bytes at its addresses may have changed."
    )
    source_version: int | None = Field(default=None, description="Ordered; an older one never overwrites a newer one.")
    parent: dict[str, str] | None = Field(default=None, description="Collection and id of its parent.")


class ManifestBody(BaseModel):
    """Where the records of a job stand: a file of JSON Lines."""

    url: str = Field(min_length=1, description="Address of a file of JSON Lines, one record a line; fetched by guard.")


class CallbackBody(BaseModel):
    """Where the end of a job is told."""

    url: str = Field(min_length=1, description="Address that is posted to.")
    token: str = Field(default="", description="Sent along as Authorization; kept encrypted.")
    mode: typing.Literal["end", "stream"] = Field(default="end", description="Told at the end, or as records finish.")
    format: str = Field(default="limner", description="Form of the body: limner, or one that a system brings.")


class JobBody(BaseModel):
    """A job to be made: these records, this pipeline."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"pipeline": "catalogue", "records": [{"id": "a", "image_url": "https://example.org/a.jpg"}]}]
        },
    )

    pipeline: Name = Field(description="Name of a pipeline.")
    records: list[RecordBody] | None = Field(default=None, description="The records themselves.")
    manifest: ManifestBody | None = Field(default=None, description="Or where they stand.")
    ids: list[Id] | None = Field(default=None, description="Or the ids of stored records.")
    collection: str | None = Field(
        default=None, description="The collection that the records belong to; the pipeline's own."
    )
    shape: str | None = Field(default=None, description="A system's own form of the records.")
    choices: dict[str, list[str]] = Field(
        default_factory=dict, description="Implementations by stage; an empty list leaves a stage out."
    )
    priority: int = Field(default=0, ge=-1000, le=1000, description="Higher ones go first.")
    expires_in: float | None = Field(
        default=None, gt=0, le=366 * 86_400, description="Seconds after which it is stopped."
    )
    fail_threshold: float | None = Field(default=None, ge=0, le=1, description="Share of failed records that stops it.")
    callback: CallbackBody | None = None
    detail: dict[str, typing.Any] = Field(default_factory=dict, description="Kept with the job and given back.")


class RetryBody(BaseModel):
    """What of a job is tried again."""

    model_config = ConfigDict(extra="forbid")

    only: typing.Literal["failed"] | list[str] | None = Field(
        None, description="failed, or a list of failure codes; without it what was cancelled too."
    )


class SearchBody(BaseModel):
    """One question to a collection."""

    model_config = ConfigDict(extra="forbid")

    collection: Name
    text: str = ""
    similar: str | None = Field(default=None, description="Like this record.")
    on: str | None = Field(default=None, description="The vector that is compared.")
    by: dict[str, str] = Field(default_factory=dict, description='A kind of query: {"colour": "#aa3311"}.')
    where: list[str] = Field(default_factory=list, description="Comparisons: licence=pdm, aspect_ratio.value>=1.5.")
    min_score: float | None = None
    limit: int = Field(default=10, ge=0, le=1000)
    offset: int = Field(default=0, ge=0, le=1_000_000)


class PromoteBody(BaseModel):
    """Which version an alias is to stand for."""

    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1)
    alias: str = Field(default="champion", min_length=1, max_length=100)
    force: bool = Field(default=False, description="Against the gate; it is recorded who did so and why it refused.")


class RollbackBody(BaseModel):
    """Which alias goes back to the version before."""

    model_config = ConfigDict(extra="forbid")

    alias: str = Field(default="champion", min_length=1, max_length=100)


class LookupBody(BaseModel):
    """Ids of records that are looked up in one call."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Id] = Field(max_length=10_000)
    stages: list[str] | None = Field(default=None, description="Only what these stages said.")


def builtins_of(value: object) -> Value:
    """*value* in JSON's types: arrays as lists, bytes as hexadecimal text."""
    from limner.domain.values import plain

    return plain(msgspec.to_builtins(value, builtin_types=(bytes, memoryview), enc_hook=plain))
