"""Decoded files that siblings share: each is decoded once, and what one record does to it no other sees."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from limner.domain.failures import FailedRecord
from limner.domain.tasks import LocalFile
from limner.inferrers.base import Want
from limner.inferrers.decode import Decode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

MEGABYTE = 1_000_000
#: Decoded bytes that are kept from one batch to the next at most; the file decoded last is kept whatever its size.
KEPT_BYTES = 128 * MEGABYTE

#: The bytes of a file, what it is handed over as, and how it is decoded.
Key: TypeAlias = tuple[str, Want, bytes]


class SharedFiles:
    """
    Pictures and arrays as they were decoded, the longest unused dropped first.

    Each record is handed a picture of its own over shared pixels, which Pillow copies when the record changes it, or
    an array that is read-only.
    """

    def __init__(self, *, max_bytes: int = KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[Key, object] = OrderedDict()
        self._bytes = 0
        #: Files that were decoded so far.
        self.decoded = 0

    def get(self, key: Key, file: LocalFile, *, decode: Decode) -> object:
        """
        What *file* decodes to, or the failure that it does not; to be handed out by :meth:`hand_out`.

        A failure is not kept: the copy that could not be read may have been fetched again.
        """
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        self.decoded += 1
        try:
            value = decode(file)
        except FailedRecord as failure:
            return failure
        if key[1] in _HANDED:
            self._keep(key, value)
        return value

    def hand_out(self, value: object, *, want: Want) -> object:
        """*value* for one record."""
        return value if isinstance(value, FailedRecord) or want not in _HANDED else _HANDED[want][0](value)

    def forget(self) -> None:
        """Drop everything: its memory is needed."""
        self._kept.clear()
        self._bytes = 0

    def _keep(self, key: Key, value: object) -> None:
        self._kept[key] = value
        self._bytes += _HANDED[key[1]][1](value)
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            dropped, old = self._kept.popitem(last=False)
            self._bytes -= _HANDED[dropped[1]][1](old)


def _twin(picture: "Image.Image") -> "Image.Image":
    """A picture over the same pixels: Pillow copies those of a read-only picture before the first change to it."""
    twin = picture._new(picture.im)
    twin.readonly = 1
    return twin


def _bytes_of_picture(picture: "Image.Image") -> int:
    """Pillow keeps four bytes for each pixel in colour."""
    return picture.width * picture.height * 4


def _read_only(array: "npt.NDArray[np.generic]") -> "npt.NDArray[np.generic]":
    array.flags.writeable = False
    return array


def _bytes_of_array(array: "npt.NDArray[np.generic]") -> int:
    return array.nbytes


#: What is kept for the next batch: how it is handed out, and how many bytes it has.
_HANDED: dict[Want, tuple[Callable[..., object], Callable[..., int]]] = {
    Want.PICTURE: (_twin, _bytes_of_picture),
    Want.ARRAY: (_read_only, _bytes_of_array),
}
