"""What trainers read: stored results as a stream in the order of the ids, or pictures from local files."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from limner.domain.failures import FailedRecord
from limner.domain.pipelines import Pipeline
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile
from limner.domain.values import Value, at_path, decode
from limner.errors import NotFound, UsageError
from limner.inferrers.base import Want
from limner.inferrers.decode import decoder_for
from limner.models.snapshot import Noting, Snapshot
from limner.store.store import Store, Transaction

#: Ids and local copies of files, the same in each pass.
Files: TypeAlias = Callable[[], Iterable[tuple[str, Path]]]

#: Records looked up at once: what a stream holds of the store at a time.
_PAGE = 1000


class Samples(ABC):
    """A stream that begins anew whenever it is iterated, in the same order, never held as a whole."""

    #: What was read, for people: ``catalogue.features.vector``.
    source: str
    #: Digest of the version whose results these are, in hexadecimal; None where no version made them.
    version: str | None = None
    #: A trainer is handed the values alone, and not (id, value).
    values_only: bool = False

    @abstractmethod
    def __iter__(self) -> Iterator[tuple[str, Value]]:
        """Id and value of each sample."""


class StoredSamples(Samples):
    """
    Values of the version of a stage that is active now, of the live records that have one, in order of their ids.

    Nothing but the store is read, in pages; a version that becomes active meanwhile changes nothing.
    """

    def __init__(self, store: Store, pipeline: Pipeline, path: str) -> None:
        """
        Look up the active version; *path* is ``stage.field`` and may reach further into nested values.

        Raises:
            NotFound: the pipeline has no such stage.
            UsageError: the stage has no results yet.
        """
        stage, *steps = path.split(".")
        self.source = f"{pipeline.name}.{path}"
        self._store = store
        self._steps = tuple(steps)
        with store.reading() as tx:
            self._node, self._active, self._collection = _active(tx, pipeline, stage)
            self.version = tx.nodes.versions([self._active])[self._active].version.digest

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        """Id and value at the path; records without one are left out."""
        after = ""
        while True:
            listed, found = self._page(after)
            if not listed:
                return
            after = listed[-1][0]
            for identity, pk in listed:
                value = at_path(decode(found[pk]), self._steps) if pk in found else None
                if value is not None:
                    yield identity, value

    def _page(self, after: str) -> tuple[list[tuple[str, int]], dict[int, bytes]]:
        # A transaction a page: a trainer may take minutes, and nobody should wait for it.
        with self._store.reading() as tx:
            listed = list(tx.records.listing(self._collection, after=after, limit=_PAGE))
            keys = [pk for _, pk in listed]
            return listed, tx.results.values(keys, node=self._node, version=self._active)


class PictureSamples(Samples):
    """
    Pictures from local files, decoded one at a time; those that cannot be decoded are left out and counted.

    *files* is called for each pass, since a stream of files that are fetched as it goes can be read only once.
    """

    values_only = True

    def __init__(self, files: Files, *, read: FileRead, source: str) -> None:
        """
        Decode as *read* says; *source* is where the files are from.

        Raises:
            MissingExtra: Pillow is not installed.
        """
        self.source = source
        self._files = files
        decoder = decoder_for(Want.PICTURE, read=read)
        if decoder is None:
            raise AssertionError("a picture is always decoded")
        self._decode = decoder
        #: How many could not be decoded in the last pass.
        self.unreadable = 0

    def __iter__(self) -> Iterator[tuple[str, Value]]:
        """Id and picture."""
        self.unreadable = 0
        for identity, path in self._files():
            try:
                # The digest counts in inputs of results only; a sample is named by its id.
                picture = self._decode(LocalFile(path=str(path), sha256=""))
            except FailedRecord:
                self.unreadable += 1
                continue
            yield identity, picture


class Handed:
    """Samples as a trainer is handed them; takes down the ids of the last pass."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._noting = Noting()

    def __iter__(self) -> Iterator[Value]:
        """Pairs of id and value, or values alone."""
        self._noting = Noting()
        for identity, value in self._samples:
            self._noting.note(identity)
            yield value if self._samples.values_only else (identity, value)

    @property
    def snapshot(self) -> Snapshot:
        """What was handed out in the last pass, which a trainer may have ended early."""
        return self._noting.snapshot


def _active(tx: Transaction, pipeline: Pipeline, stage: str) -> tuple[int, int, int]:
    """Node, active version and collection of a stage's default implementation."""
    known = [one.name for one in pipeline.stages]
    if stage not in known:
        raise NotFound(f"Pipeline {pipeline.name} has no stage {stage} to learn from; it has: {', '.join(known)}.")
    default = pipeline.stage(stage).default
    for node in tx.nodes.of(pipeline.name):
        # Variants belong to jobs that chose other implementations upstream.
        if node.stage == stage and node.implementation == default and not node.variant and node.active is not None:
            return node.pk, node.active, node.collection
    raise UsageError(f"Stage {pipeline.name}.{stage} has no results to learn from yet; run: limner run {pipeline.name}")
