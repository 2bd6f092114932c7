"""Open Inference Protocol v2 in JSON: tensors become records' inputs, outcomes become tensors."""

import base64
import binascii
import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from types import NoneType

import msgspec
from msgspec import Struct, field

from limner.api.problems import FieldError, Refused, is_retryable
from limner.app.online_inputs import FileBytes, Input
from limner.app.online_target import Target
from limner.domain.outputs import AnyOutput, Bytes, Flag, Number, Text, Vector
from limner.domain.tasks import FileRef, Outcome
from limner.domain.values import Value, decode, encode, plain

#: What begins so is an address and no base64.
_ADDRESS = re.compile(r"(https?|file|artifact):", re.IGNORECASE)
_FLOATS = ("FP16", "FP32", "FP64")
_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_MOST_ROWS = 10_000
#: What values are where a stage has named outputs, a failed record's among them.
_RECORDS = frozenset({dict, NoneType})


class Tensor(Struct, omit_defaults=True):
    """One input or output: a row for each record."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Value]
    parameters: dict[str, Value] = field(default_factory=dict)


class InferRequest(Struct):
    """The body of an inference request."""

    inputs: list[Tensor] = field(default_factory=list)
    id: str | None = None
    parameters: dict[str, Value] = field(default_factory=dict)
    outputs: list[dict[str, Value]] = field(default_factory=list)


class InferAnswer(Struct, omit_defaults=True):
    """The body of the answer to one."""

    model_name: str
    model_version: str
    outputs: list[Tensor]
    id: str | None = None
    parameters: dict[str, Value] = field(default_factory=dict)


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def read_request(body: bytes) -> InferRequest:
    """
    The request in *body*.

    Raises:
        Refused: 400 where it is no JSON, 422 where it is no request; the field is named.
    """
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        told, _, place = str(error).partition(" - at `$")
        where = place.rstrip("`").lstrip(".") or "body"
        raise Refused(422, f"The request is not right in: {where}.", errors=[_wrong(where, told)]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"The body is no JSON: {error}.") from error


def rows_of(request: InferRequest, target: Target) -> list[dict[str, Input]]:
    """
    What each record of a request is, by input.

    A file travels as BYTES: base64, or an address (http, https, file) that is fetched through the guard.

    Raises:
        Refused: a tensor is not right; the field is named.
    """
    counts = {tensor.shape[0] if tensor.shape else 0 for tensor in request.inputs}
    if len(counts) > 1:
        raise _refused("inputs", f"the tensors have different numbers of rows: {sorted(counts)}")
    count = counts.pop() if counts else 0
    if not 0 < count <= _MOST_ROWS:
        raise _refused("inputs", f"a request holds 1 to {_MOST_ROWS} rows, and this one has {count}")
    reads = target.runtime.reads
    rows: list[dict[str, Input]] = [{} for _ in range(count)]
    for at, tensor in enumerate(request.inputs):
        place = f"inputs[{at}]"
        if tensor.name not in reads:
            known = ", ".join(reads)
            raise _refused(f"{place}.name", f"{target.address} reads no {tensor.name!r}; it reads: {known}")
        items = _rows_of_tensor(tensor, place=place)
        convert = _file if reads[tensor.name] else _value_of(tensor)
        if convert is None:
            for row, item in zip(rows, items, strict=True):
                row[tensor.name] = encode(item)
        else:
            for index, (row, item) in enumerate(zip(rows, items, strict=True)):
                row[tensor.name] = convert(item, f"{place}.data[{index}]")
    return rows


def _rows_of_tensor(tensor: Tensor, *, place: str) -> Sequence[Value]:
    """One item for each row: a value, or a list where the tensor has more than one axis."""
    shape, data = tensor.shape, tensor.data
    if data and isinstance(data[0], list):
        data = _flat(data)
    if min(shape) < 0 or math.prod(shape) != len(data):
        told = f"the shape {shape} asks for {math.prod(shape)} items, and there are {len(data)}"
        raise _refused(f"{place}.data", told)
    data = _checked(tensor.datatype, data, place=place)
    if len(shape) == 1:
        return data
    width = math.prod(shape[1:])
    pieces: list[Value] = [data[start : start + width] for start in range(0, len(data), width)] if width else []
    return [_shaped(piece, shape[1:]) for piece in pieces] if len(shape) > 2 else pieces


def _shaped(items: Sequence[Value], shape: Sequence[int]) -> Value:
    if len(shape) == 1:
        return list(items)
    width = math.prod(shape[1:])
    return [_shaped(items[start : start + width], shape[1:]) for start in range(0, len(items), width)]


def _flat(data: Sequence[Value]) -> list[Value]:
    found: list[Value] = []
    for item in data:
        found += _flat(item) if isinstance(item, list) else [item]
    return found


def _checked(datatype: str, data: list[Value], *, place: str) -> list[Value]:
    """*data*, if all of it is of the datatype; numbers that may have a fraction as such."""
    kinds = _KINDS.get(datatype)
    if kinds is None:
        raise _refused(f"{place}.datatype", f"{datatype!r} is no datatype; known are: {', '.join(_KINDS)}")
    # Looked at as a whole, and one by one only to name the one that is wrong.
    if not kinds.issuperset(map(type, data)):
        at = next(at for at, item in enumerate(data) if type(item) not in kinds)
        raise _refused(f"{place}.data[{at}]", f"{str(data[at])[:40]!r} is no {datatype}")
    if datatype in _FLOATS:
        return list(map(float, data))
    if datatype in _WHOLE and data and not (min(data) >= -(2**63) and max(data) < 2**64):
        at = next(at for at, item in enumerate(data) if not -(2**63) <= item < 2**64)
        raise _refused(f"{place}.data[{at}]", f"{data[at]} has more than 64 bits")
    return data


#: By datatype: the types that JSON's values of it have.
_KINDS: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    **dict.fromkeys(_FLOATS, frozenset({int, float})),
    **dict.fromkeys(_WHOLE, frozenset({int})),
}


def _file(item: Value, place: str) -> Input:
    """A file's bytes, or its address."""
    if not isinstance(item, str):
        raise _refused(place, "a file travels as BYTES: base64, or its address")
    if _ADDRESS.match(item):
        return FileRef(url=item)
    return FileBytes(_from_base64(item, place))


def _value_of(tensor: Tensor) -> Callable[[Value, str], bytes] | None:
    """What makes a value of an item at a place; None where it is the item itself."""
    kind = tensor.parameters.get("content_type")
    if tensor.datatype == "BYTES" and kind == "base64":
        return lambda item, place: encode(_from_base64(item, place))
    if tensor.datatype == "BYTES" and kind == "json":
        return lambda item, place: encode(_from_json(item, place))
    if tensor.datatype == "FP32" and len(tensor.shape) == 2:
        # As a vector of an earlier stage comes: a typed buffer.
        return lambda item, place: encode(array("f", item))
    return None


def _from_base64(text: str, place: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused(place, f"it is neither base64 nor an address (http, https, file): {error}") from error


def _from_json(text: str, place: str) -> Value:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise _refused(place, f"it is no JSON: {error}") from error


def answer_of(request: InferRequest, target: Target, outcomes: Sequence[Outcome], *, name: str) -> bytes:
    """
    The answer: an output tensor for each declared output, a row for each record.

    Where a record failed, its rows are null, and a tensor ``error`` says why.
    """
    values = [None if outcome.failure or not outcome.value else decode(outcome.value) for outcome in outcomes]
    tensors = _tensors(values, outputs=target.stage.outputs)
    wanted = [str(one["name"]) for one in request.outputs if "name" in one]
    if wanted:
        tensors = [tensor for tensor in tensors if tensor.name in wanted]
    if any(outcome.failure for outcome in outcomes):
        tensors.append(_errors(outcomes))
    return _encoder.encode(
        InferAnswer(
            model_name=name,
            model_version=target.version.digest[:12],
            id=request.id,
            outputs=tensors,
        )
    )


def _tensors(values: Sequence[Value], *, outputs: Mapping[str, AnyOutput]) -> list[Tensor]:
    if outputs and _RECORDS.issuperset(map(type, values)):
        return [
            _tensor(name, [None if value is None else value.get(name) for value in values], output)
            for name, output in outputs.items()
        ]
    return [_untyped("output", values)]


def _tensor(name: str, column: Sequence[Value], output: AnyOutput) -> Tensor:
    match output:
        case Number():
            return _numbers(name, column, whole=output.whole)
        case Flag():
            return Tensor(name, [len(column)], "BOOL", list(column))
        case Text():
            return Tensor(name, [len(column)], "BYTES", list(column))
        case Vector():
            return _vectors(name, column, length=output.length)
        case Bytes():
            texts = [None if item is None else base64.b64encode(item).decode() for item in column]
            return Tensor(name, [len(column)], "BYTES", texts, {"content_type": "base64"})
        case _:
            return _untyped(name, column)


def _numbers(name: str, column: Sequence[Value], *, whole: bool) -> Tensor:
    kinds = set(map(type, column)) - {NoneType}
    datatype = "INT64" if kinds and (whole or kinds <= {int, bool}) else "FP64"
    return Tensor(name, [len(column)], datatype, [*column] if kinds <= {int, float} else [*map(plain, column)])


def _vectors(name: str, column: Sequence[Value], *, length: int | None) -> Tensor:
    rows = [plain(item) for item in column]
    width = next((len(row) for row in rows if row is not None), length or 0)
    flat: list[Value] = []
    for row in rows:
        flat += [None] * width if row is None else row
    return Tensor(name, [len(rows), width], "FP32", flat)


def _untyped(name: str, column: Sequence[Value]) -> Tensor:
    texts = [None if item is None else msgspec.json.encode(plain(item)).decode() for item in column]
    return Tensor(name, [len(column)], "BYTES", texts, {"content_type": "json"})


def _errors(outcomes: Sequence[Outcome]) -> Tensor:
    failures = [outcome.failure for outcome in outcomes]
    told = [failure.message if failure else "" for failure in failures]
    codes = [failure.code.value if failure else None for failure in failures]
    retryable = [is_retryable(failure.code) if failure else None for failure in failures]
    return Tensor("error", [len(told)], "BYTES", [*told], {"codes": codes, "retryable": retryable})


def _refused(place: str, told: str) -> Refused:
    return Refused(422, f"The request is not right in: {place}.", errors=[_wrong(place, told)])


def _wrong(place: str, told: str) -> FieldError:
    return FieldError(field=place, message=f"{told[:1].upper()}{told[1:]}.".replace("..", "."))
