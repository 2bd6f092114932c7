"""A folder or a bucket as a place where predictions go: CSV files by job, and a dataset of Parquet by version."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from limner.domain.failures import FailureCode
from limner.systems.ersilia.nouns import Failed, Prediction
from limner.systems.ersilia.precalc.nouns import Facts
from limner.systems.ersilia.predictions.base import Written
from limner.systems.ersilia.predictions.cursor import Cursor
from limner.systems.ersilia.predictions.dataset import Dataset
from limner.systems.ersilia.predictions.files import Files
from limner.systems.ersilia.predictions.lake import Layout, PartFile
from limner.systems.ersilia.predictions.places import BatchWriter, Place
from limner.systems.ersilia.predictions.shards import ShardFile, shard_path


class FilesPlace(Place):
    """
    ``out/MODEL/JOB_NNNN.csv`` and ``lake/model_id=MODEL/version=VERSION/part-NNNNN.parquet``.

    A job's CSV files hold all its rows. The dataset belongs to the version: what other jobs put there stays, and rows
    that are there already are not put there again.
    """

    def __init__(self, files: Files, *, cursor: Cursor) -> None:
        #: The files themselves.
        self.files = files
        self._cursor = cursor
        self._index: pa.Table | None = None

    @property
    def name(self) -> str:
        """The address of the folder."""
        return self.files.url()

    def begin(self, facts: Facts, *, batches: int) -> None:
        """Reserve numbers for the job's files in the dataset."""
        parts = Dataset(self.files, facts.release).parts()
        self._cursor.reserve(facts.job, self._series(facts), after=max(parts, default=-1), count=batches)

    @contextmanager
    def batch(self, facts: Facts, number: int) -> Iterator[BatchWriter]:
        """Write both files beside, and let them appear together at the end."""
        dataset = Dataset(self.files, facts.release)
        first = self._cursor.reserved(facts.job, self._series(facts))
        assert first is not None, "begin reserves, and it comes first"
        shard = self.files.writing(shard_path(facts.release.model, facts.job, number))
        with shard as csv_file, self.files.writing(dataset.path(first + number)) as parquet_file:
            writer = _Writer(
                facts, csv_file, parquet_file, settle=lambda: self._leave_news(dataset, first, parquet_file)
            )
            try:
                yield writer
            finally:
                writer.let_go()

    def end(self, facts: Facts, *, failures: Iterable[Sequence[Prediction]]) -> None:
        """Let every key of the dataset stand once; files hold no failures."""
        first = self._cursor.reserved(facts.job, self._series(facts)) or 0
        dataset = Dataset(self.files, facts.release)
        if any(number < first for number in dataset.parts()):
            dataset.settle()

    def close(self) -> None:
        """Nothing is held."""

    def _series(self, facts: Facts) -> str:
        return f"{self.name} {facts.release.model} {facts.release.version}"

    def _leave_news(self, dataset: Dataset, first: int, file: Path) -> None:
        # What lay there before the job began does not change while it goes on.
        if self._index is None:
            self._index = dataset.index(before=first)
        dataset.leave_news(file, index=self._index)


class _Writer:
    """Writes the two files of one batch."""

    def __init__(self, facts: Facts, csv_file: Path, parquet_file: Path, *, settle: Callable[[], None]) -> None:
        columns = facts.release.columns
        self._layout = Layout(columns, scheme=facts.scheme)
        self._shard = ShardFile(csv_file, columns=columns)
        self._part = PartFile(parquet_file, layout=self._layout)
        self._settle = settle
        self._open = True

    def write(self, predictions: Sequence[Prediction]) -> Written:
        """Append rows to both; one that does not fit its columns is in neither."""
        refused: dict[str, Failed] = {}
        try:
            table = self._layout.table(predictions)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            predictions = [one for one in predictions if not self._refused(one, refused)]
            table = self._layout.table(predictions)
        self._part.write(table)
        self._shard.write(predictions)
        return Written(new=len(predictions), refused=refused)

    def close(self) -> Written:
        """Finish both files."""
        self.let_go()
        self._settle()
        return Written()

    def let_go(self) -> None:
        """Close both files, whatever is in them."""
        if self._open:
            self._open = False
            self._shard.close()
            self._part.close()

    def _refused(self, prediction: Prediction, refused: dict[str, Failed]) -> bool:
        """Whether *prediction* does not fit; why is noted."""
        try:
            self._layout.table([prediction])
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            told = f"not_representable: a value does not fit the type of its column: {error}."
            refused[prediction.key] = Failed(code=FailureCode.OUTPUT_INVALID, reason="not_representable", message=told)
            return True
        return False
