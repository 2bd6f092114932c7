"""Batches as the bodies of two protocols: plain JSON, and Open Inference Protocol v2 (tensors as JSON)."""

import base64
import math
from collections.abc import Mapping
from pathlib import Path

import msgspec

from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.values import Value, plain
from limner.inferrers.base import OutputsMiscounted

_FLOATS = ("FP16", "FP32", "FP64")
_DATATYPES: tuple[tuple[type, str], ...] = ((bool, "BOOL"), (int, "INT64"), (float, "FP64"))


def to_json(columns: Mapping[str, list[object]]) -> Value:
    """``{"inputs": [{NAME: VALUE, …}, …]}``; files and bytes as ``{"b64": …}``, paths as ``file://``."""
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    return {"inputs": [{n: _json_value(v) for n, v in zip(names, row, strict=True)} for row in rows]}


def from_json(answer: Value, *, count: int) -> list[object]:
    """The outputs of ``{"outputs": […]}``; ``{"error": …}`` in place of one is its exception."""
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list):
        raise OutputsMiscounted("The server answered without a list `outputs`.")
    if len(outputs) != count:
        raise OutputsMiscounted(f"The server answered {count} inputs with {len(outputs)} outputs.")
    return [_failed(item) if isinstance(item, dict) and "error" in item else item for item in outputs]


def to_v2(columns: Mapping[str, list[object]]) -> Value:
    """
    One input tensor a column, one row a record.

    Numbers are INT64, FP64 or BOOL of shape [n]; vectors FP32 of shape [n, length]; text, base64 of files and bytes,
    ``file://`` addresses, and JSON of anything else BYTES of shape [n].
    """
    return {"inputs": [_tensor(name, column) for name, column in columns.items()]}


def from_v2(answer: Value, *, count: int) -> list[object]:
    """
    By record a dictionary of the output tensors' rows: numbers, text, or NumPy vectors.

    A BYTES tensor called ``error`` tells, by record, why it failed; an empty text means that it did not. Failure codes
    and reasons stand beside it: as its parameters ``codes`` and ``reasons``, one for each record, as Limner's own door
    answers, or as tensors ``code`` and ``reason``. A row that is no vector of its tensor fails its record alone.
    """
    tensors = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(tensors, list):
        raise OutputsMiscounted("The server answered without a list `outputs`.")
    rows: list[dict[str, object]] = [{} for _ in range(count)]
    for tensor in tensors:
        for row, value in zip(rows, _rows(tensor, count=count), strict=True):
            row[str(tensor["name"])] = value
    told = _told_beside([tensor for tensor in tensors if tensor["name"] == "error"], count=count)
    return [_row(row, told=beside) for row, beside in zip(rows, told, strict=True)]


def _json_value(value: object) -> Value:
    if isinstance(value, Path):
        return value.resolve().as_uri()
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    return plain(value)


def _failed(item: Mapping[str, object]) -> FailedRecord:
    try:
        code = FailureCode(str(item.get("code", FailureCode.MODEL_ERROR)))
    except ValueError:
        code = FailureCode.MODEL_ERROR
    reason = item.get("reason")
    return FailedRecord(code, str(item["error"]), reason=str(reason) if reason else None)


def _row(row: Mapping[str, object], *, told: Mapping[str, object]) -> object:
    """The output of one record: its values, or why there are none."""
    if row.get("error"):
        return _failed({**told, **{name: value for name, value in row.items() if value is not None}})
    bad = next((value for value in row.values() if isinstance(value, FailedRecord)), None)
    # Only an answer that tells errors tells codes beside them; elsewhere they are outputs like any other.
    beside = ("error", "code", "reason") if "error" in row else ()
    return bad or {name: value for name, value in row.items() if name not in beside}


def _told_beside(errors: list[Value], *, count: int) -> list[dict[str, object]]:
    """By record what the parameters of the tensor of errors tell of it."""
    parameters = errors[0].get("parameters") if errors else None
    found: list[dict[str, object]] = [{} for _ in range(count)]
    for name, key in (("codes", "code"), ("reasons", "reason")):
        column = parameters.get(name) if isinstance(parameters, dict) else None
        if isinstance(column, list) and len(column) == count:
            for told, value in zip(found, column, strict=True):
                told[key] = value
    return found


def _tensor(name: str, column: list[object]) -> Value:
    if any(value is None for value in column):
        raise FailedRecord(
            FailureCode.INPUT_INVALID, f"The protocol v2 has no way to send {name}, which is absent here."
        )
    vectors = _vectors(column)
    if vectors is not None:
        width = len(vectors[0])
        flat = [number for vector in vectors for number in vector]
        return {"name": name, "shape": [len(column), width], "datatype": "FP32", "data": flat}
    for kind, datatype in _DATATYPES:
        if all(type(value) is kind for value in column):
            return {"name": name, "shape": [len(column)], "datatype": datatype, "data": column}
    texts = [_text(value) for value in column]
    return {"name": name, "shape": [len(column)], "datatype": "BYTES", "data": texts}


def _vectors(column: list[object]) -> list[list[float]] | None:
    """The column as equally long lists of numbers, if that is what it holds."""
    lists = [plain(value) for value in column]
    numbers = all(
        isinstance(row, list) and row and all(isinstance(n, int | float) and not isinstance(n, bool) for n in row)
        for row in lists
    )
    return lists if numbers and len({len(row) for row in lists}) == 1 else None


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Path):
        return value.resolve().as_uri()
    return msgspec.json.encode(plain(value)).decode()


def _rows(tensor: Value, *, count: int) -> list[object]:
    name, shape, data = tensor["name"], list(tensor["shape"]), _flat(tensor["data"])
    if not shape or shape[0] != count or math.prod(shape) != len(data):
        raise OutputsMiscounted(f"The server's output {name} has shape {shape} for {count} inputs.")
    width = math.prod(shape[1:])
    if len(shape) == 1 or shape[1:] == [1]:
        return data
    pieces = [data[start * width : (start + 1) * width] for start in range(count)]
    if tensor.get("datatype") not in _FLOATS:
        return list(pieces)
    return [_vector(piece, shape=shape[1:], name=str(name)) for piece in pieces]


def _vector(piece: list[object], *, shape: list[int], name: str) -> object:
    import numpy as np  # an extra: servers that answer with numbers and text go without it

    try:
        return np.array(piece, dtype=np.float32).reshape(shape)
    except (TypeError, ValueError) as error:
        return FailedRecord(FailureCode.OUTPUT_INVALID, f"The server's output {name} is no vector of numbers: {error}")


def _flat(data: Value) -> list[object]:
    """Servers may nest the rows of a tensor."""
    if data and isinstance(data[0], list):
        return [item for row in data for item in _flat(row)]
    return list(data)
