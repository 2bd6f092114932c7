"""A prediction as an item of DynamoDB, in the layout that the original's readers know."""

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from limner.domain.failures import FailureCode
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.nouns import Failed, Prediction, Release
from limner.systems.ersilia.predictions.cells import not_representable
from limner.systems.ersilia.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    #: Attributes by name, as the service takes and gives them.
    Item: TypeAlias = Mapping[str, AttributeValueTypeDef]

#: Bytes of an item at most.
LARGEST = 400 * 1024
#: What the service can hold of a number that is not 0; beyond 38 digits no float and no 64-bit integer goes.
_LEAST, _MOST = 1e-130, 1e126
_KEY, _MODEL = "INPUTKEY#", "MODELID#"
_KEPT = re.compile(r"[!-~]{1,500}")


def is_key(key: str) -> bool:
    """Whether there can be an item for *key* at all."""
    return _KEPT.fullmatch(key) is not None


def place_of(key: str, model: str) -> "dict[str, AttributeValueTypeDef]":
    """The primary key of a prediction."""
    return {"PK": {"S": f"{_KEY}{key}"}, "SK": {"S": f"{_MODEL}{model}"}}


def key_of(item: "Item") -> str:
    """The key that an item is about."""
    return item["PK"]["S"].removeprefix(_KEY)


def version_of(item: "Item") -> str:
    """The version that said it; empty in items that others wrote."""
    return item.get("Version", {}).get("S", "")


def item_of(prediction: Prediction, *, release: Release, moment: float) -> "dict[str, AttributeValueTypeDef]":
    """
    *prediction* as an item; a failure has an empty list of values, and says why.

    Raises:
        OverflowError: a number cannot be held; its only argument is the failure.
    """
    item: dict[str, AttributeValueTypeDef] = {
        **place_of(prediction.key, release.model),
        "Smiles": {"S": prediction.smiles},
        "Precalculation": {"L": _numbers(prediction.values or (), release.columns)},
        "Timestamp": {"S": str(int(moment))},
        "Version": {"S": release.version},
        "Job": {"S": prediction.job},
        "Record": {"S": prediction.record},
    }
    if prediction.failed is not None:
        failed = prediction.failed
        item["Failure"] = {
            "M": {
                "Code": {"S": failed.code.value},
                "Reason": {"S": failed.reason},
                "Message": {"S": failed.message},
            }
        }
    if prediction.detail:
        item["Detail"] = {"M": {name: {"S": told} for name, told in prediction.detail.items()}}
    return item


def prediction_of(item: "Item", *, columns: Sequence[Column]) -> Prediction:
    """What was given to :func:`item_of`."""
    failure = item.get("Failure", {}).get("M")
    cells = item["Precalculation"]["L"]
    return Prediction(
        key=key_of(item),
        smiles=item["Smiles"]["S"],
        values=None
        if failure
        else tuple(_cell(cell, column.type) for cell, column in zip(cells, columns, strict=True)),
        failed=_failed(failure) if failure else None,
        record=item.get("Record", {}).get("S", ""),
        job=item.get("Job", {}).get("S", ""),
        detail={name: told["S"] for name, told in item.get("Detail", {}).get("M", {}).items()},
    )


def too_large(item: "Item") -> Failed | None:
    """Why the service would not take *item* for its size; None where it would."""
    size = _size_of_map(item)
    if size <= LARGEST:
        return None
    told = f"An item of DynamoDB may have {LARGEST:,} bytes, and this has {size:,}."
    return Failed(
        code=FailureCode.OUTPUT_TOO_LARGE,
        reason=Reason.ITEM_TOO_LARGE.value,
        message=f"{Reason.ITEM_TOO_LARGE.value}: {told}",
    )


def pack_release(release: Release) -> bytes:
    """A release in few bytes: a model may have thousands of columns, and an item has a limit."""
    return zlib.compress(msgspec.json.encode(release))


def unpack_release(data: bytes) -> Release:
    """What was given to :func:`pack_release`."""
    return msgspec.json.decode(zlib.decompress(data), type=Release)


def _numbers(values: Sequence[Cell], columns: Sequence[Column]) -> "list[AttributeValueTypeDef]":
    return [_attribute(value, column.name) for value, column in zip(values, columns, strict=False)]


def _attribute(value: Cell, column: str) -> "AttributeValueTypeDef":
    """A cell; a number by its shortest decimal form, which reads back to the same bits."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, str):
        return {"S": value}
    if value != 0 and not _LEAST <= abs(value) < _MOST:
        raise OverflowError(not_representable(column, value=value))
    return {"N": repr(value)}


def _cell(attribute: "AttributeValueTypeDef", kind: ColumnType) -> Cell:
    if "N" in attribute:
        # The service writes 2.0 as 2, so that the column must say which it was.
        return int(float(attribute["N"])) if kind is ColumnType.INTEGER else float(attribute["N"])
    return attribute.get("S")


def _failed(failure: "Item") -> Failed:
    return Failed(
        code=FailureCode(failure["Code"]["S"]), reason=failure["Reason"]["S"], message=failure["Message"]["S"]
    )


def _size_of_map(attributes: "Item") -> int:
    return sum(len(name.encode()) + _size(attribute) for name, attribute in attributes.items())


def _size(attribute: "AttributeValueTypeDef") -> int:
    """Bytes that the service counts for one attribute, at most."""
    if "S" in attribute:
        return len(attribute["S"].encode())
    if "N" in attribute:
        # One byte for every two digits, one for the exponent and one for the sign.
        return len(attribute["N"]) // 2 + 3
    if "L" in attribute:
        return 3 + sum(1 + _size(element) for element in attribute["L"])
    if "M" in attribute:
        return 3 + sum(1 + len(name.encode()) + _size(element) for name, element in attribute["M"].items())
    return 1
