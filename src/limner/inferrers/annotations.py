"""From the annotations of an inferrer's parameters to what each input is handed."""

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from limner.inferrers.base import Want

_BATCH = re.compile(r"(?:typing\.)?[lL]ist\[(.*)\]", re.DOTALL)
_OPTIONAL = re.compile(r"(?:typing\.)?Optional\[(.*)\]", re.DOTALL)
#: The last part of a name in an annotation, for those that cannot be evaluated.
_BY_NAME = {
    "Image": Want.PICTURE,
    "Path": Want.PATH,
    "bytes": Want.BYTES,
    "str": Want.TEXT,
    "ndarray": Want.ARRAY,
    "NDArray": Want.ARRAY,
}
#: The same for objects, by module and name, so that neither Pillow nor NumPy is imported here.
_BY_HOME = {("PIL.Image", "Image"): Want.PICTURE, ("numpy", "ndarray"): Want.ARRAY}
_BY_TYPE: dict[object, Want] = {Path: Want.PATH, bytes: Want.BYTES, str: Want.TEXT}


class Asked(Struct, frozen=True, kw_only=True):
    """What one parameter's annotation asks for."""

    want: Want
    #: ``list[T]``: all records in one call; otherwise one call for each record.
    batch: bool


def asked_by(function: Callable[..., object], parameter: inspect.Parameter) -> Asked:
    """What *parameter* of *function* asks for; an annotation that cannot be evaluated is read as text."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, _names_around(function))
        except Exception:  # noqa: BLE001  whatever stops the evaluation (TYPE_CHECKING imports, newer syntax): read it
            return _asked_by_text(annotation)
    return _asked_by_object(annotation)


def _names_around(function: Callable[..., object]) -> dict[str, object]:
    """The globals of the module that defines *function*, decorators set aside."""
    plain = inspect.unwrap(function)
    module = sys.modules.get(getattr(plain, "__module__", None) or "")
    return dict(getattr(plain, "__globals__", None) or vars(module or types))


def _asked_by_object(annotation: object) -> Asked:
    annotation = _without_none(annotation)
    if isinstance(annotation, str):
        return _asked_by_text(annotation)
    if typing.get_origin(annotation) is list:
        (item,) = typing.get_args(annotation)
        return Asked(want=_want_of(item), batch=True)
    return Asked(want=_want_of(annotation), batch=False)


def _want_of(annotation: object) -> Want:
    """What one record's part is handed as."""
    annotation = _without_none(annotation)
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if isinstance(annotation, str):
        return _want_of_text(annotation)
    plain = typing.get_origin(annotation) or annotation
    if isinstance(plain, types.ModuleType):
        # `from PIL import Image` and then `image: Image`: the module is named, its class is meant.
        return Want.PICTURE if plain.__name__ == "PIL.Image" else Want.VALUE
    if not isinstance(plain, type):
        return Want.VALUE
    home = (plain.__module__, plain.__name__)
    return _BY_TYPE.get(plain) or _BY_HOME.get(home) or Want.VALUE


def _without_none(annotation: object) -> object:
    """``T`` of ``T | None``; other unions stay as they are."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        others = [part for part in typing.get_args(annotation) if part is not type(None)]
        return others[0] if len(others) == 1 else annotation
    return annotation


def _asked_by_text(annotation: str) -> Asked:
    text = _text_without_none(annotation)
    found = _BATCH.fullmatch(text)
    return Asked(want=_want_of_text(found.group(1) if found else text), batch=bool(found))


def _want_of_text(annotation: str) -> Want:
    text = _text_without_none(annotation)
    return _BY_NAME.get(text.partition("[")[0].rpartition(".")[2].strip(), Want.VALUE)


def _text_without_none(annotation: str) -> str:
    text = annotation.strip().strip("'\"").strip()
    text = re.sub(r"^None\s*\|\s*|\s*\|\s*None$", "", text)
    found = _OPTIONAL.fullmatch(text)
    return found.group(1).strip() if found else text
