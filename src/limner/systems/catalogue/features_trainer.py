"""Refits the projection of the small picture model on somebody's own pictures: real retraining without labels."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import numpy as np
from PIL import Image

from limner.systems.catalogue import features_model, plates

#: Fixed, so that two models are judged on the same re-photographs.
_JUDGED_WITH_SEED = 0


class FeaturesTrainer:
    """Keeps the model's filters and learns from a sample of pictures which mixtures of their answers tell most."""

    def __init__(self, folder: Path | None = None) -> None:
        """Models are written into *folder*, or into a new temporary one."""
        self._folder = folder

    def train(
        self,
        samples: Iterable[Image.Image],
        *,
        seed: int,
        dims: int = features_model.DIMS,
        sample: int = 5_000,
    ) -> Path:
        """
        An ONNX file whose projection to *dims* numbers is fitted on at most *sample* of the pictures.

        The pictures are read once, as a stream; which ones are kept depends on *seed* and their order.

        Raises:
            ValueError: there are not enough pictures for *dims* components.
        """
        slots: list[int] = []
        seen = _Counter()
        answers = features_model.measure(_chosen(samples, slots, seen=seen, sample=sample, seed=seed))
        # A later picture replaces the one that had its slot.
        last = {slot: row for row, slot in enumerate(slots)}
        measures = answers[[last[slot] for slot in sorted(last)]] if last else answers
        projection = features_model.fit(measures, dims=dims)
        content = features_model.build(
            projection,
            manifest={
                "fitted_on": "stored pictures",
                "pictures": seen.count,
                "sampled": len(measures),
                "sample_digest": hashlib.sha256(measures.tobytes()).hexdigest(),
                "explained_variance": round(projection.explained, 6),
                "seed": seed,
            },
        )
        folder = self._folder or Path(mkdtemp(prefix="limner-features-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"features-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
        path.write_bytes(content)
        return path

    def evaluate(self, model: Path, samples: Iterable[Image.Image], *, limit: int = 300) -> dict[str, float]:
        """
        How well the model knows a picture again: each of the first *limit* pictures is photographed again.

        ``own_first`` is the share of re-photographs that are nearest to their own original; ``own_likeness`` the
        mean cosine of the two.
        """
        originals = list(islice(samples, limit))
        if not originals:
            return {"pictures": 0.0, "own_first": 0.0, "own_likeness": 0.0}
        stored = features_model.infer_features(model, originals)
        taken = features_model.infer_features(model, _photographed_again(originals))
        likeness = taken @ stored.T
        return {
            "pictures": float(len(originals)),
            "own_first": float(np.mean(likeness.argmax(axis=1) == np.arange(len(originals)))),
            "own_likeness": float(likeness.diagonal().mean()),
        }


class _Counter:
    """How many went by in a stream that is read only once."""

    def __init__(self) -> None:
        self.count = 0


def _chosen(
    pictures: Iterable[Image.Image], slots: list[int], *, seen: _Counter, sample: int, seed: int
) -> Iterator[Image.Image]:
    """The pictures that enter a seeded reservoir of *sample* slots; notes in *slots* where each one goes."""
    random = Random(seed)
    for picture in pictures:
        slot = seen.count if seen.count < sample else random.randint(0, seen.count)
        seen.count += 1
        if slot < sample:
            slots.append(slot)
            yield picture


def _photographed_again(originals: list[Image.Image]) -> Iterator[Image.Image]:
    random = Random(_JUDGED_WITH_SEED)
    for original in originals:
        yield Image.open(io.BytesIO(plates.rephotograph(original.convert("RGB"), random=random)))
