"""A trainer is a plain class: it is fed, its model is registered with its origin, judged and gated."""

from collections.abc import Iterator
from importlib.metadata import version as version_of
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.domain.reads import FileRead
from limner.domain.systems import Trainer
from limner.errors import InferrerBroken, ModelRefused, UsageError
from limner.models.registry import Registry
from limner.models.samples import PictureSamples, StoredSamples
from limner.models.training import gate_of, train
from limner.store.store import Store
from tests.models.cases import CATALOGUE, keep_results, vectors

_HERE = "tests.models.toy_trainer"
MEANS = Trainer(
    model="means",
    trainer=f"{_HERE}:MeanTrainer",
    pipeline="catalogue",
    samples="features.vector",
    gate=f"{_HERE}:nearest",
)


@pytest.fixture
def samples(store: Store) -> StoredSamples:
    """Sixty stored vectors."""
    keep_results(store, vectors(60))
    return StoredSamples(store, CATALOGUE, "features.vector")


def _with(target: str) -> Trainer:
    return Trainer(model="means", trainer=target, pipeline="catalogue", samples="features.vector")


def test_the_first_model_that_the_gate_accepts_serves(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """Without a champion there is nothing to lose, so a good model becomes it at once."""
    trained = train(registry, MEANS, samples, seed=1, workdir=tmp_path, by="maria")

    card = registry.show("means")
    assert (trained.alias, trained.refused_reasons) == ("champion", ())
    assert card.version == trained.version
    assert card.version.metrics == trained.metrics == {"error": pytest.approx(0, abs=1e-6)}
    assert card.moves[0].by == "maria"


def test_a_first_model_that_the_gate_refuses_waits(registry: Registry, samples: StoredSamples, tmp_path: Path) -> None:
    """It is kept as challenger with its reasons, and nothing serves."""
    trained = train(registry, MEANS, samples, seed=1, parameters={"shift": 3.0}, workdir=tmp_path)

    assert trained.refused_reasons == ("its error is 3.00; below 1 is needed",)
    assert trained.alias == "challenger"
    assert registry.champion("means") is None
    assert registry.find("means@challenger") == trained.version


def test_beside_a_champion_a_new_model_is_the_challenger(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """Training never moves what serves; promotion does, after the gate compared both."""
    train(registry, MEANS, samples, seed=1, parameters={"shift": 0.5}, workdir=tmp_path)

    better = train(registry, MEANS, samples, seed=2, parameters={"shift": 0.25}, workdir=tmp_path)
    worse = train(registry, MEANS, samples, seed=3, parameters={"shift": 0.75}, workdir=tmp_path)

    assert (better.alias, better.refused_reasons) == ("challenger", ())
    assert worse.refused_reasons == ("its error is 0.75, above the champion's 0.50",)
    assert registry.find("means@champion").number == 1
    assert registry.find("means@challenger").number == 3


def test_the_same_seed_gives_the_same_version(registry: Registry, samples: StoredSamples, tmp_path: Path) -> None:
    """Training again changes nothing, no number and no alias."""
    first = train(registry, MEANS, samples, seed=1, workdir=tmp_path)

    again = train(registry, MEANS, samples, seed=1, workdir=tmp_path)

    assert again == first
    assert len(registry.listing("means")) == 1
    assert len(registry.show("means").moves) == 1


def test_the_origin_says_all_that_it_takes_to_train_again(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """Code, libraries, seed, parameters, and which samples of which version."""
    trained = train(registry, MEANS, samples, seed=7, parameters={"shift": 0.5}, workdir=tmp_path)

    origin = dict(trained.version.origin)
    assert origin["trainer"] == f"{_HERE}:MeanTrainer"
    assert str(origin["code"]).startswith("source:")
    assert origin["libraries"]["numpy"] == version_of("numpy")
    assert {"python", "pillow"} <= set(origin["libraries"])
    assert (origin["seed"], origin["parameters"]) == (7, {"shift": 0.5})
    assert (origin["samples"], origin["samples_version"]) == ("catalogue.features.vector", samples.version)
    assert origin["snapshot"]["count"] == 60
    assert len(origin["snapshot"]["ids"]) == 32


def test_trainers_of_pictures_are_handed_pictures(registry: Registry, tmp_path: Path) -> None:
    """One that cannot be decoded is left out and counted in the origin."""
    for name, grey in (("a", 10), ("b", 30)):
        Image.new("L", (4, 4), grey).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    names = ("a", "b", "c")

    def files() -> Iterator[tuple[str, Path]]:
        return ((name, tmp_path / f"{name}.png") for name in names)

    pictures = PictureSamples(files, read=FileRead(), source="images.image_url")
    trained = train(registry, _with(f"{_HERE}:BrightnessTrainer"), pictures, seed=1, workdir=tmp_path)

    assert trained.metrics == {"brightness": 20.0, "pictures": 2.0}
    assert trained.version.origin["unreadable"] == 1
    assert trained.version.origin["snapshot"]["count"] == 2
    assert trained.alias == "champion"


@pytest.mark.parametrize(
    ("parameters", "sample", "sentence"),
    [
        ({"shfit": 1}, None, "takes no parameter shfit; it takes: shift"),
        ({"seed": 2}, None, "takes no parameter seed"),
        ({}, 10, "takes no sample"),
    ],
)
def test_what_a_trainer_does_not_take_is_named(
    parameters: dict[str, object],
    sample: int | None,
    sentence: str,
    registry: Registry,
    samples: StoredSamples,
    tmp_path: Path,
) -> None:
    """A misspelt parameter is refused before anything is read."""
    with pytest.raises(UsageError, match=sentence):
        train(registry, MEANS, samples, seed=1, sample=sample, parameters=parameters, workdir=tmp_path)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (f"{_HERE}:nearest", "no trainer: name a class"),
        (f"{_HERE}:Path", "lacks the method train and evaluate"),
        (f"{_HERE}:Absent", "cannot be loaded"),
        (f"{_HERE}:BreakingTrainer", "did not train: KeyError"),
    ],
)
def test_a_trainer_that_cannot_be_used_is_explained(
    target: str, sentence: str, registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """The sentence names the trainer and what it lacks; nothing is registered."""
    with pytest.raises(InferrerBroken, match=sentence):
        train(registry, _with(target), samples, seed=1, workdir=tmp_path)

    assert registry.listing() == []


def test_a_trained_file_passes_the_same_check(
    registry: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a trainer wrote is trusted no more than what a user brings."""
    monkeypatch.chdir(tmp_path)
    keep_results(store, {"a": {"vector": np.ones(2, dtype=np.float32)}})
    samples = StoredSamples(store, CATALOGUE, "features.vector")

    with pytest.raises(ModelRefused, match="pickl"):
        train(registry, _with(f"{_HERE}:PicklingTrainer"), samples, seed=1, workdir=tmp_path)


def test_a_version_is_judged_beside_the_champion(registry: Registry, samples: StoredSamples, tmp_path: Path) -> None:
    """Both by the same samples, at the time of asking."""
    train(registry, MEANS, samples, seed=1, parameters={"shift": 0.25}, workdir=tmp_path)
    worse = train(registry, MEANS, samples, seed=2, parameters={"shift": 0.5}, workdir=tmp_path)

    judged = gate_of(registry, MEANS, worse.version, samples, workdir=tmp_path)

    assert judged.reasons == ("its error is 0.50, above the champion's 0.25",)
    assert judged.metrics["error"] == pytest.approx(0.5)
    assert judged.champion_metrics is not None
    assert judged.champion_metrics["error"] == pytest.approx(0.25)


def test_a_model_that_cannot_be_judged_is_refused_with_figures(
    registry: Registry, samples: StoredSamples, tmp_path: Path
) -> None:
    """A model of another length is a reason, not a crash; as a champion it keeps no successor out."""
    np.save(tmp_path / "other.npy", np.zeros(3, dtype=np.float32))
    other = registry.add("means", tmp_path / "other.npy")

    judged = gate_of(registry, MEANS, other, samples, workdir=tmp_path)
    successor = train(registry, MEANS, samples, seed=1, workdir=tmp_path)

    assert judged.reasons == (f"{_HERE}:MeanTrainer did not judge: the model has 3 numbers; the samples have 8",)
    assert successor.refused_reasons == ()
