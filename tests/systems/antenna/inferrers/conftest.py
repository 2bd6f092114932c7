"""Nights at a trap that are made once for all tests of the antenna's inferrers."""

import pytest

from limner.systems.antenna.trap_pictures import TrapFrame, night
from tests.systems.antenna.inferrers.matching import detected


@pytest.fixture(scope="session")
def nights() -> list[list[TrapFrame]]:
    """Three nights of four frames, with twelve insects and bits of debris each."""
    return [list(night(seed=seed, frames=4, things=12, size=(1280, 720))) for seed in (21, 22, 23)]


@pytest.fixture(scope="session")
def frame(nights: list[list[TrapFrame]]) -> TrapFrame:
    """One made picture."""
    return nights[0][0]


@pytest.fixture(scope="session")
def found(nights: list[list[TrapFrame]]) -> list[list[dict[str, object]]]:
    """By night and frame what Blobs and ColourHistogram say, as the tracker takes it."""
    return [[detected(one, number=number) for number, one in enumerate(frames)] for frames in nights]
