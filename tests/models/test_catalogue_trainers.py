"""The catalogue's trainers with the registry: codes from training to roll-back, and features refitted on pictures."""

from pathlib import Path

import numpy as np
import pytest

from limner.domain.reads import FileRead
from limner.domain.systems import Trainer
from limner.errors import ModelRefused
from limner.models.registry import Registry
from limner.models.samples import PictureSamples, StoredSamples
from limner.models.training import gate_of, train
from limner.store.store import Store
from limner.systems.catalogue import plates
from tests.models.cases import CATALOGUE, keep_results, vectors

_MODULE = "limner.systems.catalogue.codes_trainer"
CODES = Trainer(
    model="codes",
    trainer=f"{_MODULE}:CodesTrainer",
    pipeline="catalogue",
    samples="features.vector",
    gate=f"{_MODULE}:gate",
)
_SMALL = {"groups": 16, "centres": 8}


@pytest.fixture
def samples(store: Store) -> StoredSamples:
    """A thousand stored vectors of 32 numbers."""
    keep_results(store, vectors(1_000, dims=32))
    return StoredSamples(store, CATALOGUE, "features.vector")


def test_codes_are_retrained_promoted_and_rolled_back(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """The same seed gives the same digest; another seed a challenger, which is promoted and taken back."""
    first = train(registry, CODES, samples, seed=1, sample=600, parameters=_SMALL, workdir=tmp_path)
    again = train(registry, CODES, samples, seed=1, sample=600, parameters=_SMALL, workdir=tmp_path)
    second = train(registry, CODES, samples, seed=2, sample=600, parameters=_SMALL, workdir=tmp_path)
    judged = gate_of(registry, CODES, second.version, samples, workdir=tmp_path)
    registry.promote("codes@2", gate_reasons=judged.reasons, by="maria")
    back = registry.rollback("codes", by="maria")

    assert again.version == first.version
    assert (first.alias, second.alias) == ("champion", "challenger")
    assert first.metrics["recall_rescored"] >= 0.9
    assert first.metrics["queries"] >= 200
    assert first.version.origin["samples_version"] == samples.version
    assert (second.version.number, judged.reasons) == (2, ())
    assert back == first.version


def test_a_collapsed_model_is_refused_and_force_is_recorded(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """A model that gives every vector one code is refused with figures; a person may still want it."""
    train(registry, CODES, samples, seed=1, sample=600, parameters=_SMALL, workdir=tmp_path)
    np.savez(tmp_path / "collapsed.npz", centres=np.full((4, 4, 8), 100, dtype=np.float32))
    collapsed = registry.add("codes", tmp_path / "collapsed.npz")

    judged = gate_of(registry, CODES, collapsed, samples, workdir=tmp_path)

    with pytest.raises(ModelRefused, match=r"recall@10 .* is 0\.\d+, below .*uses only 25% of its centres"):
        registry.promote("codes@2", gate_reasons=judged.reasons, by="maria")
    registry.promote("codes@2", gate_reasons=judged.reasons, force=True, by="maria")
    assert list(registry.show("codes@2").moves[-1].reasons) == list(judged.reasons)


@pytest.mark.real_data
def test_the_legacy_model_is_refused_with_figures(
    registry: Registry, samples: StoredSamples, tmp_path: Path, shared_data: Path
) -> None:
    """The old model loads without unpickling, but is made for vectors of another length."""
    legacy = registry.add("codes", shared_data / "catalogue" / "lsh_test_model.npz", as_champion=False)

    judged = gate_of(registry, CODES, legacy, samples, workdir=tmp_path)

    with pytest.raises(ModelRefused, match="made for 4096 numbers; the stored vectors have 32"):
        registry.promote("codes@1", gate_reasons=judged.reasons, by="maria")


def test_too_few_vectors_are_said_and_nothing_serves(registry: Registry, store: Store, tmp_path: Path) -> None:
    """A gate needs two hundred unseen vectors; a model of fewer is kept and waits."""
    keep_results(store, vectors(100, dims=32))
    few = StoredSamples(store, CATALOGUE, "features.vector")

    trained = train(registry, CODES, few, seed=1, parameters=_SMALL, workdir=tmp_path)

    assert "200 are needed" in trained.refused_reasons[0]
    assert registry.champion("codes") is None


def test_the_picture_model_is_refitted_on_ones_own_pictures(registry: Registry, tmp_path: Path) -> None:
    """The features trainer is handed pictures from files; what it writes passes the trial of ONNX files."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(24):
        plates.plate(index, seed=3).image.save(folder / f"{index:02}.png")
    pictures = PictureSamples(
        lambda: ((path.stem, path) for path in sorted(folder.iterdir())), read=FileRead(), source="images.image_url"
    )
    features = Trainer(
        model="features",
        trainer="limner.systems.catalogue.features_trainer:FeaturesTrainer",
        pipeline="catalogue",
        samples="image_url",
        read=FileRead(),
    )

    first = train(registry, features, pictures, seed=1, parameters={"dims": 8}, workdir=tmp_path)
    again = train(registry, features, pictures, seed=1, parameters={"dims": 8}, workdir=tmp_path)

    assert again.version == first.version
    assert first.version.filename.endswith(".onnx")
    assert first.version.licence == "CC0-1.0"
    assert first.metrics["pictures"] == 24
    assert registry.check("features").problems == ()
