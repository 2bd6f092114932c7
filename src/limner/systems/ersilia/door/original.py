"""The look-up as the original's clients speak it, whatever carries it: a body goes in, a reply comes out."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner.domain.values import Value
from limner.errors import ConfigurationError, LimnerError, StoreUnavailable
from limner.systems.ersilia.nouns import Prediction

#: Keys of one request at most.
MOST = 10_000
#: What a gateway says to whoever brings no key, or a wrong one.
FORBIDDEN = {"message": "Forbidden"}
_PROBLEM = "application/problem+json"

#: Says of a model's keys what is predicted, one to one.
Look = Callable[[str, Sequence[str]], Sequence[Prediction | None]]


class Asked(BaseModel):
    """A request: keys of one model."""

    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True, protected_namespaces=())

    model_id: str = Field(alias="modelId", min_length=1, max_length=200)
    keys: list[str] = Field(alias="inputKeyArray")


class Reply(Struct, frozen=True, kw_only=True):
    """What is answered."""

    status: int
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def reply_to(body: bytes, *, query: Mapping[str, Sequence[str]], look: Look) -> Reply:
    """
    The answer to a request; nothing that goes wrong leaves here but as an answer.

    *query* holds its parameters, each with all its values: they count where there is no body, which some proxies drop
    of a GET.
    """
    given = {name: query[name] for name in ("modelId", "inputKeyArray") if name in query}
    if not body.strip() and not given:
        return Reply(status=204)
    try:
        asked = Asked.model_validate_json(body) if body.strip() else Asked.model_validate(_single(given))
    except ValidationError as error:
        return _refused(error)
    return answer(asked, look=look)


def answer(asked: Asked, *, look: Look) -> Reply:
    """The answer to a request that was understood."""
    if len(asked.keys) > MOST:
        told = f"{len(asked.keys):,} keys are more than the {MOST:,} that one request may have"
        return problem(413, f"{told}; POST /api/v1/requests takes a file of any number and makes a job of it.")
    try:
        found = look(asked.model_id, asked.keys)
    except (ConfigurationError, StoreUnavailable) as error:
        return problem(503, f"The predictions cannot be read just now: {error}", headers={"retry-after": "2"})
    except LimnerError as error:
        return problem(422, str(error))
    return Reply(status=200, body=msgspec.json.encode(body_of(asked, found)))


def body_of(asked: Asked, found: Sequence[Prediction | None]) -> dict[str, Value]:
    """The body of an answer: in the order of the request what there is, and the keys of which there is nothing."""
    output: list[Value] = []
    missing: list[Value] = []
    for key, one in zip(asked.keys, found, strict=True):
        if one is None or one.values is None:
            missing.append(key)
        else:
            output.append({"smiles": one.smiles.strip(), "value": list(one.values), "key": key})
    return {"model_id": asked.model_id, "output": output, "missing": missing}


def problem(
    status: int,
    detail: str,
    *,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A reply that tells a problem (RFC 9457); *fields* says by field what is wrong with it."""
    body: dict[str, Value] = {"type": "about:blank", "title": _TITLES[status], "status": status, "detail": detail}
    if fields:
        body["errors"] = [{"field": name, "message": message} for name, message in fields.items()]
    return Reply(status=status, body=msgspec.json.encode(body), kind=_PROBLEM, headers=headers or {})


_TITLES = {413: "Too large", 422: "Invalid request", 503: "Unavailable"}


def _single(given: Mapping[str, Sequence[str]]) -> dict[str, Value]:
    """A query's parameters as a body has them."""
    return {name: list(values) if name == "inputKeyArray" else values[-1] for name, values in given.items()}


def _refused(error: ValidationError) -> Reply:
    found = {_place(one["loc"]): str(one["msg"]) for one in error.errors(include_url=False, include_context=False)}
    return problem(422, f"The request is not right in: {', '.join(found)}.", fields=found)


def _place(location: tuple[str | int, ...]) -> str:
    """``("inputKeyArray", 3)`` as ``inputKeyArray[3]``; the whole is ``body``."""
    said = "".join(f"[{part}]" if isinstance(part, int) else str(part) for part in location)
    return said or "body"
