"""The system as a plug-in: found by its entry point, light to load, and everything that it names is there."""

import importlib
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import pytest

from limner.domain.records import Shape
from limner.domain.systems import System
from limner.search.mapping import mapping_of
from limner.systems.catalogue import system

HEAVY = ("numpy", "PIL", "onnxruntime", "sklearn", "sqlalchemy", "httpx")


def loaded(target: str) -> object:
    """What ``package.module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(module), name)


def test_found_by_entry_point() -> None:
    """The installed package offers the system under its name."""
    # when
    found = {point.name: point for point in entry_points(group="limner.systems")}["catalogue"].load()

    # then
    assert isinstance(found, System)
    assert found.name == "catalogue"


def test_light_to_load() -> None:
    """Loading the declaration loads no library of pictures, numbers, stores or networks."""
    # when
    code = f"import limner.systems.catalogue, sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # then
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "target",
    [
        *(way.infer for s in system.pipelines[0].stages for way in s.implementations.values() if ":" in way.infer),
        *(encoder.encode for encoder in system.pipelines[0].index.encoders.values()),
        *system.resolvers.values(),
        *(trainer.trainer for trainer in system.trainers.values()),
        *(trainer.gate for trainer in system.trainers.values() if trainer.gate),
        system.demo,
    ],
)
def test_target_exists(target: str) -> None:
    """Whatever the declaration names by text can be loaded and called."""
    assert callable(loaded(target))


@pytest.mark.parametrize("name", sorted(system.shapes))
def test_shape_exists(name: str) -> None:
    """A shape is found under its own name."""
    # when
    shape = loaded(system.shapes[name])

    # then
    assert isinstance(shape, Shape)
    assert shape.name == name


def test_model_is_shipped() -> None:
    """The small picture model lies in the package."""
    # given
    package, _, path = system.models["features"].partition(":")

    # then
    assert files(package).joinpath(path).is_file()


def test_everything_inferred_is_searched() -> None:
    """Vectors, numbers and words of all stages are in the search mapping without being listed twice."""
    # when
    mapping = mapping_of(system.pipelines[0])

    # then
    assert mapping.vectors == {"palette.vector": 1000, "features.vector": None}
    assert {"palette.average_color_hex", "aspect_ratio.value", "codes.tokens"} <= set(mapping.filters)
    assert mapping.text["parent.title"] == 500
    assert mapping.text["parent.contributors"] == 100
