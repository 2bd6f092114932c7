"""What is asked of the original's look-up, and what it must answer: the same through every door."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from limner.domain.values import Value
from tests.systems.ersilia.shelved import MODEL, key_of, weight_of

#: Numbers of the molecules that are stored; the last one failed.
STORED = range(6_000)
FAILED = 6_000


class Case(Struct, frozen=True, kw_only=True):
    """One request to the look-up, and how it is answered."""

    name: str
    #: None: there is no body.
    body: bytes | None
    status: int
    #: What must hold for the body of the answer, decoded; None where it is empty.
    holds: Callable[[Value], bool] | None


def request(*numbers: int, model: str = MODEL) -> bytes:
    """The body that asks for molecules by their numbers."""
    return msgspec.json.encode({"modelId": model, "inputKeyArray": [key_of(number) for number in numbers]})


def told(*numbers: int, missing: tuple[int, ...] = (), model: str = MODEL) -> dict[str, Value]:
    """The answer that has molecules by their numbers, in this order."""
    return {
        "model_id": model,
        "output": [
            {"smiles": "C" * (number % 50 + 1), "value": [weight_of(number)], "key": key_of(number)}
            for number in numbers
        ],
        "missing": [key_of(number) for number in missing],
    }


def _exactly(expected: Mapping[str, Value]) -> Callable[[Value], bool]:
    return lambda body: bool(body == expected)


def _names(*fields: str) -> Callable[[Value], bool]:
    return lambda body: [error["field"] for error in body["errors"]] == list(fields)


def _raw(**fields: Value) -> bytes:
    return msgspec.json.encode(fields)


_SHUFFLED = tuple(sorted(range(5_000), key=key_of))
CASES = (
    Case(name="one key", body=request(7), status=200, holds=_exactly(told(7))),
    Case(name="100 keys", body=request(*range(100)), status=200, holds=_exactly(told(*range(100)))),
    Case(name="101 keys", body=request(*range(101)), status=200, holds=_exactly(told(*range(101)))),
    Case(name="5,000 keys out of order", body=request(*_SHUFFLED), status=200, holds=_exactly(told(*_SHUFFLED))),
    Case(name="repeated keys", body=request(3, 1, 3, 3), status=200, holds=_exactly(told(3, 1, 3, 3))),
    Case(name="no keys", body=request(), status=200, holds=_exactly(told())),
    Case(
        name="unknown keys among known ones",
        body=request(9, 77_777, 2, 88_888, 77_777),
        status=200,
        holds=_exactly(told(9, 2, missing=(77_777, 88_888, 77_777))),
    ),
    Case(
        name="a molecule that failed", body=request(FAILED, 1), status=200, holds=_exactly(told(1, missing=(FAILED,)))
    ),
    Case(
        name="an unknown model",
        body=request(1, 2, model="eos0zzz"),
        status=200,
        holds=_exactly(told(missing=(1, 2), model="eos0zzz")),
    ),
    Case(name="10,001 keys", body=request(*range(10_001)), status=413, holds=lambda body: "requests" in body["detail"]),
    Case(name="no body", body=None, status=204, holds=None),
    Case(name="an empty body", body=b"", status=204, holds=None),
    Case(name="no model", body=_raw(inputKeyArray=[]), status=422, holds=_names("modelId")),
    Case(name="no keys at all", body=_raw(modelId=MODEL), status=422, holds=_names("inputKeyArray")),
    Case(name="neither", body=b"{}", status=422, holds=_names("modelId", "inputKeyArray")),
    Case(
        name="keys of a wrong type",
        body=_raw(modelId=MODEL, inputKeyArray="ABC"),
        status=422,
        holds=_names("inputKeyArray"),
    ),
    Case(
        name="one key of a wrong type",
        body=_raw(modelId=MODEL, inputKeyArray=["A", 1]),
        status=422,
        holds=_names("inputKeyArray[1]"),
    ),
    Case(name="a model of a wrong type", body=_raw(modelId=5, inputKeyArray=[]), status=422, holds=_names("modelId")),
    Case(name="no JSON", body=b"{modelId", status=422, holds=_names("body")),
    Case(name="a list", body=b"[]", status=422, holds=_names("body")),
    Case(name="no text", body=b"\xff\xfe", status=422, holds=_names("body")),
)
