"""Pictures and vectors that the science of the catalogue is judged on, made once for all tests."""

import io
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from limner.systems.catalogue import features_model, plates
from limner.systems.catalogue.codes import Floats


@pytest.fixture(scope="session")
def shipped_model() -> Path:
    """The model file of the package."""
    return Path(features_model.__file__).parent / "data" / "features.onnx"


@pytest.fixture(scope="session")
def drawn() -> list[Image.Image]:
    """Plates that the shipped model was not built from."""
    return [plates.plate(index, seed=99).image for index in range(480)]


@pytest.fixture(scope="session")
def drawn_features(drawn: list[Image.Image], shipped_model: Path) -> Floats:
    """The features of the drawn plates, shape (480, 128)."""
    return features_model.infer_features(shipped_model, drawn)


@pytest.fixture(scope="session")
def photographed() -> tuple[list[Image.Image], list[int]]:
    """60 plates with two re-photographs each, and the number of the plate that each picture shows."""
    random = Random(5)
    pictures: list[Image.Image] = []
    for index in range(60):
        original = plates.plate(index, seed=7).image
        taken = [Image.open(io.BytesIO(plates.rephotograph(original, random=random))) for _ in range(2)]
        pictures += [original, *taken]
    return pictures, [index for index in range(60) for _ in range(3)]


@pytest.fixture(scope="session")
def mixture() -> Floats:
    """2,000 unit vectors of 64 numbers around 60 directions."""
    random = np.random.default_rng(4)
    directions = random.standard_normal((60, 64))
    vectors: npt.NDArray[np.float64] = directions[random.integers(0, 60, 2000)] + 0.5 * random.standard_normal(
        (2000, 64)
    )
    lengths: npt.NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)
