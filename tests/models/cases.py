"""A store with results of a stage, as a run would leave them, and small model files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from limner.domain.pipelines import Pipeline, make_pipeline, make_stage
from limner.domain.records import RecordIn
from limner.domain.tasks import Status
from limner.domain.values import Value, encode, value_digest
from limner.domain.versions import Version
from limner.store.store import Store

CATALOGUE = make_pipeline(
    "catalogue",
    collection="images",
    stages=[make_stage("features", infer="tests.models.toy:Features", reads={"title": "title"})],
)


def keep_results(
    store: Store,
    values: Mapping[str, Value],
    *,
    pipeline: Pipeline = CATALOGUE,
    code: str = "1",
    status: Status = Status.DONE,
    active: bool = True,
) -> str:
    """Store *values* as results of the stage ``features`` in the version of *code*; the digest of the version."""
    with store.transaction() as tx:
        ids = list(values)
        records = [RecordIn(collection="images", id=identity, fields={"title": identity}) for identity in ids]
        keys = tx.records.take_in(records).keys
        known = [one for one in tx.nodes.of(pipeline.name) if one.stage == "features"]
        collection = tx.records.collection("images")
        node = (known or [tx.nodes.add(pipeline.name, "features", "default", variant="", collection=collection)])[0]
        version = Version(digest=value_digest(code).hex(), code=code, model=None, params={}, environment={})
        pk = tx.nodes.register(pipeline.name, "features", "default", version=version, now=0.0)
        if active:
            tx.nodes.activate(node.pk, pk)
        tx.results.put(
            [
                (key, node.pk, pk, status, None, 1, b"a", b"r", value_digest(value), encode(value))
                for key, value in zip(keys, values.values(), strict=True)
            ]
        )
    return version.digest


def vectors(count: int, *, dims: int = 8, seed: int = 1) -> dict[str, Value]:
    """Feature values of *count* records, unit vectors around 60 directions."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((60, dims))
    drawn = directions[random.integers(0, 60, count)] + 0.5 * random.standard_normal((count, dims))
    unit = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return {f"image-{number:05}": {"vector": row} for number, row in enumerate(unit)}


def array_file(path: Path, *, value: float = 1.0) -> Path:
    """An npz file of one array."""
    np.savez(path, centres=np.full((2, 2), value, dtype=np.float32))
    return path


def matrix(values: Mapping[str, Value]) -> npt.NDArray[np.float32]:
    """The vectors of *values* in their order, shape (n, dims)."""
    return np.stack([value["vector"] for value in values.values()])
