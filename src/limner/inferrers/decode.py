"""From a stored value or a local file to what an inferrer wants to be handed."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile
from limner.errors import MissingExtra
from limner.inferrers.base import Want

Decode: TypeAlias = Callable[[object], object]
#: How a file begins that holds a NumPy array.
_NPY = b"\x93NUMPY"


def decoder_for(want: Want, *, read: FileRead | None) -> Decode | None:
    """
    What turns a decoded value (*read* is None) or a :class:`LocalFile` into *want*; None where nothing is to do.

    None is handed through. What it returns raises FailedRecord where one file cannot be used.

    Raises:
        MissingExtra: pictures or arrays are wanted, and Pillow or NumPy is not installed.
    """
    if read is None:
        return _array_of_value() if want is Want.ARRAY else None
    if want in (Want.PICTURE, Want.ARRAY):
        return _picture_decoder(read, as_array=want is Want.ARRAY)
    if want is Want.BYTES:
        return lambda value: _bytes_of(_file(value)) if value is not None else None
    if want is Want.TEXT:
        return lambda value: _text_of(_file(value)) if value is not None else None
    return lambda value: Path(_file(value).path) if value is not None else None


def _file(value: object) -> LocalFile:
    if not isinstance(value, LocalFile):
        raise TypeError(f"a file was declared, and a {type(value).__name__} came")
    return value


def _picture_decoder(read: FileRead, *, as_array: bool) -> Decode:
    # Imported here, since a plain install and stages without pictures go without Pillow.
    try:
        import numpy as np

        from limner.inferrers.pictures import decode_picture
    except ImportError as error:
        raise MissingExtra(extra="pictures", needs="A stage that reads pictures") from error

    def decoded(value: object) -> object:
        if value is None:
            return None
        path = Path(_file(value).path)
        if as_array and _is_npy(path):
            return _npy(path)
        picture = decode_picture(path, read=read)
        return np.asarray(picture) if as_array else picture

    return decoded


def _is_npy(path: Path) -> bool:
    """Whether the file is an array as an earlier stage's artifact holds it."""
    try:
        with path.open("rb") as file:
            return file.read(len(_NPY)) == _NPY
    except OSError:
        return False


def _npy(path: Path) -> object:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FailedRecord(FailureCode.DECODE_FAILED, f"The file holds no array that can be read: {error}") from error


def _array_of_value() -> Decode:
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtra(extra="pictures", needs="An inferrer that is handed arrays") from error

    # A record's field is JSON, so its vector is a list; a stage's stored vector is an array already.
    return lambda value: np.asarray(value) if isinstance(value, list) else value


def _bytes_of(file: LocalFile) -> bytes:
    try:
        return Path(file.path).read_bytes()
    except OSError as error:
        raise FailedRecord(FailureCode.SOURCE_UNAVAILABLE, f"The copy of the file cannot be read: {error}") from error


def _text_of(file: LocalFile) -> str:
    try:
        return _bytes_of(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FailedRecord(FailureCode.DECODE_FAILED, f"The file is not UTF-8 text: {error}") from error
