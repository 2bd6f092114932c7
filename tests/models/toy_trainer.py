"""Trainers and gates as users write them: plain classes and functions over plain values."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


class MeanTrainer:
    """Learns the mean of vectors; the error of a model is its distance to the mean of what it is judged by."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def train(self, samples: Iterable[tuple[str, np.ndarray]], *, seed: int, shift: float = 0.0) -> Path:
        """The mean, moved by *shift*."""
        mean = np.mean([vector for _, vector in samples], axis=0) + shift
        path = self._folder / f"mean-{seed}.npy"
        np.save(path, mean.astype(np.float32))
        return path

    def evaluate(self, model: Path, samples: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
        """The distance to the mean of *samples*."""
        learned = np.load(model)
        mean = np.mean([vector for _, vector in samples], axis=0)
        if learned.shape != mean.shape:
            raise ValueError(f"the model has {len(learned)} numbers; the samples have {len(mean)}")
        return {"error": float(np.abs(learned - mean).max())}


def nearest(metrics: dict[str, float], champion_metrics: dict[str, float] | None) -> list[str]:
    """Refuses an error of 1 and more, and one above the champion's."""
    if metrics["error"] >= 1:
        return [f"its error is {metrics['error']:.2f}; below 1 is needed"]
    if champion_metrics is not None and metrics["error"] > champion_metrics["error"]:
        return [f"its error is {metrics['error']:.2f}, above the champion's {champion_metrics['error']:.2f}"]
    return []


class BrightnessTrainer:
    """Learns the mean brightness of pictures, which it is handed alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def train(self, samples: Iterable[Image.Image], *, seed: int) -> Path:
        """One number."""
        path = self._folder / "brightness.npy"
        np.save(path, np.array([np.mean([np.asarray(picture).mean() for picture in samples])]))
        return path

    def evaluate(self, model: Path, samples: Iterable[Image.Image]) -> dict[str, float]:
        """The number itself, and how many pictures judged it."""
        return {"brightness": float(np.load(model)[0]), "pictures": float(len(list(samples)))}


class PicklingTrainer:
    """Writes what no registry takes."""

    def train(self, samples: Iterable[tuple[str, np.ndarray]], *, seed: int) -> Path:
        """An array of objects."""
        path = Path(next(iter(samples))[0]).absolute().with_suffix(".npy")
        np.save(path, np.array([{"a": seed}], dtype=object), allow_pickle=True)
        return path

    def evaluate(self, model: Path, samples: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
        """Nothing."""
        return {}


class BreakingTrainer:
    """Fails in the middle of training."""

    def train(self, samples: Iterable[tuple[str, np.ndarray]], *, seed: int) -> Path:
        """Raise."""
        raise KeyError("no such thing")

    def evaluate(self, model: Path, samples: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
        """Nothing."""
        return {}
