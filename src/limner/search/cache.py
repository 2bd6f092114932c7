"""What a reader worked out about one state of a generation, kept while there is room and the state stands."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar, cast

import numpy as np

_Kept = TypeVar("_Kept")


class Cache:
    """Arrays by key, the least recently used dropped first."""

    def __init__(self, *, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[object, ...], tuple[object, int]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: tuple[object, ...], *, make: Callable[[], _Kept]) -> _Kept:
        """What is kept under *key*, or is made now; two threads may make the same at a time."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return cast(_Kept, self._kept[key][0])
        made = make()
        size = _size(made)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = (made, size)
                self._bytes += size
            while self._bytes > self._most and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1][1]
        return made


def _size(kept: object) -> int:
    """About how many bytes *kept* takes."""
    parts = kept if isinstance(kept, tuple) else (kept,)
    return sum(part.nbytes if isinstance(part, np.ndarray) else 64 * len(part) for part in parts)
