"""What of a job is published, a batch of library rows at a time: read in whichever process publishes it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from limner.artifacts.base import Artifacts
from limner.artifacts.connect import connect_artifacts
from limner.domain.failures import FailureCode
from limner.domain.values import Value, decode
from limner.errors import ArtifactMissing
from limner.settings import Project
from limner.store.connect import connect_store
from limner.store.store import Store
from limner.systems.ersilia.columns import Cell
from limner.systems.ersilia.nouns import Failed, Prediction
from limner.systems.ersilia.precalc.fates import FateRow, FatesFile, State
from limner.systems.ersilia.precalc.nouns import PublishRow
from limner.systems.ersilia.reasons import Reason

#: Wide rows that are in memory at a time.
_AT_A_TIME = 1_000


class JobBatches:
    """The rows of one job, in batches that are the same whenever they are asked for."""

    def __init__(self, store: Store, artifacts: Artifacts, *, job: str, fates: str, node: int, version: int) -> None:
        """*fates* is the digest of the fates of its rows; values are those of *version* of *node*."""
        self._store = store
        self._artifacts = artifacts
        self._job = job
        self._fates = FatesFile(artifacts.path(fates))
        self._node = node
        self._version = version

    def __len__(self) -> int:
        """How many batches there are."""
        return self._fates.batches

    def rows(self, number: int) -> Iterator[PublishRow]:
        """The rows of one batch in the order of the library: all but repeats, with values or a failure."""
        batch = [row for row in self._fates.batch(number) if not row.first]
        for start in range(0, len(batch), _AT_A_TIME):
            chunk = batch[start : start + _AT_A_TIME]
            values = self._values(chunk)
            yield from (self._row(row, values.get(row.row)) for row in chunk)

    def _values(self, rows: Sequence[FateRow]) -> dict[int, tuple[Cell, ...]]:
        """By row: the values of those that have some."""
        stored = {row.pk: row.row for row in rows if row.state is State.STORED}
        with self._store.reading() as tx:
            encoded = tx.results.values(sorted(stored), node=self._node, version=self._version)
        found: dict[int, tuple[Cell, ...]] = {}
        wide: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for pk, data in encoded.items():
            value = decode(data)
            assert isinstance(value, Mapping)
            if value.get("values") is not None:
                found[stored[pk]] = tuple(value["values"])
            else:
                sha256, place = _place_of(value)
                wide[sha256].append((place, stored[pk]))
        for sha256, places in wide.items():
            found |= self._wide(sha256, sorted(places))
        return found

    def _wide(self, sha256: str, places: Sequence[tuple[int, int]]) -> dict[int, tuple[Cell, ...]]:
        """By row: the values that stand at *places* of one file."""
        from limner.systems.ersilia.packages.wide import read_rows

        try:
            path = self._artifacts.path(sha256)
        except ArtifactMissing:
            return {}
        values = read_rows(path, [place for place, _ in places])
        return {row: cells for (_, row), cells in zip(places, values, strict=True)}

    def _row(self, row: FateRow, values: tuple[Cell, ...] | None) -> PublishRow:
        failed = row.failed
        if values is None and failed is None:
            failed = _without_values(row.state)
        prediction = Prediction(
            key=row.key, smiles=row.smiles, values=values, failed=failed, record=row.record, job=self._job
        )
        return PublishRow(row=row.row, prediction=prediction)


class OpenJob(Struct, frozen=True, kw_only=True):
    """Opens the batches of a job in another process; travels there as a few words."""

    project: Project
    job: str
    fates: str
    node: int
    version: int

    def __call__(self) -> JobBatches:
        """The batches, on connections of the process that asks, which need not load all that an application is."""
        settings = self.project.settings
        store = connect_store(self.project.url(settings.store))
        artifacts = connect_artifacts(self.project.url(settings.artifacts), copies=self.project.copies)
        return JobBatches(store, artifacts, job=self.job, fates=self.fates, node=self.node, version=self.version)


def _place_of(value: Mapping[str, Value]) -> tuple[str, int]:
    """The digest of the file that holds a wide value, and its row there."""
    file = value["file"]
    return str(file["sha256"] if isinstance(file, Mapping) else file), int(value["row"])


def _without_values(state: State) -> Failed:
    """Why a row that did not fail has no values."""
    if state is State.STORED:
        told = f"{Reason.NO_OUTPUT}: The file that held its values is gone; run it again with limner retry."
        return Failed(code=FailureCode.OUTPUT_INVALID, reason=Reason.NO_OUTPUT.value, message=told)
    return Failed(code=FailureCode.CANCELLED, reason=state.value, message=f"{state}: It was not predicted.")
