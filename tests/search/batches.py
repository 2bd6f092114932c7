"""Documents that say which batch they are of, and threads that read while batches take each other's place."""

import threading

import numpy as np

from limner.search.base import Document, Near, Page, Query
from limner.search.connect import connect_search
from limner.search.mapping import FilterKind, Mapping

MAPPING = Mapping(text={"title": 1.0}, filters={"batch": FilterKind.NUMBER}, vectors={"v": 4})


def batch(number: int, *, size: int = 50, version: str = "one") -> list[Document]:
    """*size* documents that say which batch they are of; their vectors say it too."""
    vector = np.array([np.cos(number), np.sin(number), 0, 0], dtype=np.float32)
    return [
        Document(
            id=f"d{at:04}",
            text={"title": f"bread batch{number}"},
            filters={"batch": number},
            vectors={"v": vector},
            versions={"v": version},
        )
        for at in range(size)
    ]


def batches_of(page: Page) -> set[object]:
    """The batches that the hits of *page* say they are of."""
    return {hit.fields["batch"] for hit in page.hits}


class Readers:
    """Threads that ask an index of their own until told to stop, and keep what went wrong."""

    def __init__(self, url: str, *, count: int = 4) -> None:
        self.wrong: list[object] = []
        self.answers = 0
        self._stop = threading.Event()
        self._index = connect_search(url, name="i")
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._index.close()

    def _ask(self) -> None:
        near = Near(path="v", vector=np.array([1, 0, 0, 0], dtype=np.float32))
        while not self._stop.is_set():
            for query in (Query(limit=50), Query(text="bread", limit=50), Query(near=near, limit=50)):
                try:
                    page = self._index.search(query)
                    scores = {hit.score for hit in page.hits} if query.near else set()
                    if page.total != 50 or len(batches_of(page)) != 1 or len(scores) > 1:
                        self.wrong.append((query, page))
                except Exception as error:  # noqa: BLE001  # whatever it is, the test must tell it
                    self.wrong.append(error)
                self.answers += 1
