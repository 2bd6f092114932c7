"""Trains codes from stored vectors alone, judges them on vectors that training did not see, and gates promotion."""

import hashlib
import heapq
import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

from limner.systems.catalogue.codes import Codes, Codewords, Doubles, Floats, asymmetric_likeness, shared_tokens

Samples = Iterable[tuple[str, Floats]] | npt.NDArray[np.floating]

#: Vectors kept out of training, so that a model can be judged at all.
HELD_OUT = 200
#: Below this recall no model is promoted, and a successor may lose at most this much.
RECALL_FLOOR = 0.90
RECALL_LOSS = 0.02
#: Share of its centres that every group must use.
USED_FLOOR = 0.5
_NEIGHBOURS = 10
_RESCORED = 100
#: Neighbours at the same likeness count alike: pictures may be stored twice.
_SAME = 1e-6
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)


class CodesTrainer:
    """A seeded rotation, then k-means in each group of numbers: product quantisation."""

    def __init__(self, folder: Path | None = None) -> None:
        """Models are written into *folder*, or into a new temporary one."""
        self._folder = folder

    def train(
        self,
        samples: Samples,
        *,
        seed: int,
        groups: int = 32,
        centres: int = 16,
        sample: int = 10_000,
        features_version: str = "",
    ) -> Path:
        """
        Learn from at most *sample* of the vectors, read once as a stream, and write one npz file.

        *samples* yields (id, vector), or is a matrix whose row numbers are the ids. Which ones are used depends on
        their ids and *seed*, not on their order; at least 200 (or, of fewer than 400, half) are left unseen for
        ``evaluate``. The same seed and vectors give the same bytes.

        Raises:
            ValueError: the vectors do not divide into *groups*, differ in length, or are too few.
        """
        ids, vectors, total = _drawn(samples, key=f"train {seed}", sample=sample)
        _check(vectors, groups=groups, centres=centres)
        with threadpool_limits(limits=1):
            rotation = _rotation(vectors.shape[1], seed=seed)
            turned = (vectors.astype(np.float64) @ rotation).astype(np.float32)
            learned = np.stack([_centres(part, count=centres, seed=seed) for part in np.split(turned, groups, axis=1)])
        manifest = {
            "format": "limner-codes-1",
            "seed": seed,
            "groups": groups,
            "centres": centres,
            "dims": int(vectors.shape[1]),
            "vectors": total,
            "sampled": len(ids),
            "sample_ids_digest": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            "features_version": features_version,
            "versions": {name: version_of(name) for name in ("numpy", "scikit-learn")},
        }
        content = _npz(
            {
                "centres": learned.astype(np.float32),
                "manifest": np.frombuffer(json.dumps(manifest, sort_keys=True).encode(), dtype=np.uint8),
                "rotation": rotation.astype(np.float32),
                "seen": np.sort(content_keys(vectors)),
            }
        )
        folder = self._folder or Path(mkdtemp(prefix="limner-codes-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"codes-{hashlib.sha256(content).hexdigest()[:16]}.npz"
        path.write_bytes(content)
        return path

    def evaluate(self, model: Path, samples: Samples, *, queries: int = 300, limit: int = 20_000) -> dict[str, float]:
        """
        Recall@10 of three searches by codes against the exact search, and how evenly centres are used.

        At most *queries* vectors that training did not see ask, among at most *limit* of the vectors; themselves
        excluded. A model for vectors of another length gets recalls of 0.
        """
        _, vectors, _ = _drawn(samples, key="judge", sample=limit, hold_out=False)
        judged = Codes(model)
        metrics = {"vectors": float(len(vectors)), "vector_dims": float(vectors.shape[1]), "dims": float(judged.dims)}
        if judged.dims != vectors.shape[1]:
            return {**metrics, "queries": 0.0, **dict.fromkeys(_SEARCHES, 0.0), "used_centres_min": 0.0}
        unseen = np.flatnonzero(~np.isin(content_keys(vectors), judged.seen))[:queries]
        # Ten neighbours need more than ten vectors.
        unseen = unseen if len(vectors) > _NEIGHBOURS else unseen[:0]
        codes = judged.encode(vectors)
        recalls = [_recalls(int(row), vectors, codes=codes, model=judged) for row in unseen]
        means = np.mean(recalls, axis=0) if recalls else np.zeros(len(_SEARCHES))
        return {
            **metrics,
            "queries": float(len(unseen)),
            **{name: float(mean) for name, mean in zip(_SEARCHES, means, strict=True)},
            "used_centres_min": min(len(np.unique(group)) for group in codes.T) / judged.centres_per_group,
        }


_SEARCHES = ("recall_tokens", "recall_asymmetric", "recall_rescored")


def gate(metrics: dict[str, float], champion: dict[str, float] | None = None) -> list[str]:
    """Why a codes model must not be promoted, each reason with its figures; empty where it may."""
    if metrics["dims"] != metrics["vector_dims"]:
        return [f"it is made for {metrics['dims']:.0f} numbers; the stored vectors have {metrics['vector_dims']:.0f}"]
    reasons = []
    if metrics["queries"] < HELD_OUT:
        reasons.append(f"judged on {metrics['queries']:.0f} vectors that training did not see; {HELD_OUT} are needed")
    floor = RECALL_FLOOR
    against = "the floor"
    if champion is not None and champion["recall_rescored"] - RECALL_LOSS > floor:
        floor = champion["recall_rescored"] - RECALL_LOSS
        against = f"the champion's {champion['recall_rescored']:.3f} less {RECALL_LOSS}"
    if metrics["queries"] and metrics["recall_rescored"] < floor:
        reasons.append(
            f"recall@10 of rescored search is {metrics['recall_rescored']:.3f}, below {floor:.3f} ({against})"
        )
    if metrics["used_centres_min"] < USED_FLOOR:
        reasons.append(
            f"a group uses only {metrics['used_centres_min']:.0%} of its centres; {USED_FLOOR:.0%} are needed"
        )
    return reasons


def content_keys(vectors: Floats) -> npt.NDArray[np.uint64]:
    """Eight bytes of the digest of each vector: tells a seen vector from an unseen one under any id."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    digests = b"".join(hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in rows)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def _drawn(samples: Samples, *, key: str, sample: int, hold_out: bool = True) -> tuple[list[str], Floats, int]:
    """
    A seeded reservoir: the *sample* ids with the smallest keyed digests, sorted so; their vectors; how many went by.

    By digest rather than by place in the stream, so that the order in which a store lists does not matter.
    """
    if sample < 1:
        raise ValueError(f"a sample holds at least one vector, not {sample}")
    kept: list[tuple[int, str, int, Floats]] = []
    total = 0
    for name, vector in _pairs(samples):
        numbers = _numbers(vector, like=kept[0][3] if kept else None)
        rank = int.from_bytes(hashlib.blake2b(name.encode(), key=key.encode(), digest_size=8).digest())
        total += 1
        # The running number keeps two vectors of one id from being compared.
        entry = (-rank, name, -total, numbers)
        if len(kept) < sample:
            heapq.heappush(kept, entry)
        elif -rank > kept[0][0]:
            heapq.heapreplace(kept, entry)
    if not kept:
        raise ValueError("there are no vectors to learn from or to judge by")
    kept.sort(key=lambda entry: (-entry[0], entry[1], -entry[2]))
    used = min(len(kept), max(1, total - HELD_OUT, total // 2)) if hold_out else len(kept)
    return [entry[1] for entry in kept[:used]], np.stack([entry[3] for entry in kept[:used]]), total


def _pairs(samples: Samples) -> Iterator[tuple[str, Floats]]:
    if isinstance(samples, np.ndarray):
        return ((str(row), vector) for row, vector in enumerate(samples))
    return iter(samples)


def _numbers(vector: Floats, *, like: Floats | None) -> Floats:
    """*vector* as float32; every one in the stream is held against the first, also those that are not sampled."""
    numbers = np.asarray(vector, dtype=np.float32)
    if numbers.ndim != 1 or (like is not None and numbers.shape != like.shape):
        wanted = "" if like is None else f"; the first has {len(like)} numbers"
        raise ValueError(f"all vectors must be lists of one length; found one of shape {numbers.shape}{wanted}")
    return numbers


def _check(vectors: Floats, *, groups: int, centres: int) -> None:
    dims = vectors.shape[1]
    if groups < 1 or dims % groups:
        raise ValueError(f"{dims} numbers do not divide into {groups} groups")
    if centres < 2:
        raise ValueError(f"a group needs at least 2 centres, not {centres}")
    if len(vectors) < centres:
        raise ValueError(f"{centres} centres need at least {centres} vectors to learn from; there are {len(vectors)}")
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds numbers that are not finite")


def _rotation(dims: int, *, seed: int) -> Doubles:
    """A random rotation, the same for the same seed: spreads what vectors say evenly over the groups."""
    basis, triangle = np.linalg.qr(np.random.default_rng(seed).standard_normal((dims, dims)))
    rotation: Doubles = basis * np.sign(np.diag(triangle))
    return rotation


def _centres(part: Floats, *, count: int, seed: int) -> npt.NDArray[np.float32]:
    means = MiniBatchKMeans(n_clusters=count, random_state=seed, batch_size=1024, n_init=3)
    centres: npt.NDArray[np.float32] = means.fit(np.ascontiguousarray(part)).cluster_centers_
    return centres


def _npz(arrays: dict[str, npt.NDArray[np.generic]]) -> bytes:
    """The arrays as an npz whose bytes depend on nothing else: no clock in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=_FIXED_DATE), member.getvalue())
    return buffer.getvalue()


def _recalls(row: int, vectors: Floats, *, codes: Codewords, model: Codes) -> tuple[float, float, float]:
    """Recall@10 for one query, in the order of _SEARCHES."""
    query = vectors[row]
    others = np.delete(np.arange(len(vectors)), row)
    exact = vectors[others] @ query
    # One product serves the truth and the rescoring: scores of two products differ in the last bit.
    worst = np.partition(exact, -_NEIGHBOURS)[-_NEIGHBOURS] - _SAME
    tokens = shared_tokens(query, codes[others], model=model)
    likeness = asymmetric_likeness(query, codes[others], model=model)
    shortlist = np.argsort(-likeness, kind="stable")[:_RESCORED]
    rescored = shortlist[np.argsort(-exact[shortlist], kind="stable")]
    by_tokens = np.argsort(-tokens, kind="stable")
    recalls = (float((exact[found[:_NEIGHBOURS]] >= worst).mean()) for found in (by_tokens, shortlist, rescored))
    return next(recalls), next(recalls), next(recalls)
