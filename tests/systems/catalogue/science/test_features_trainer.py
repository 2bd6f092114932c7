"""Refitting the small model on a user's own pictures."""

import json
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from PIL import Image

from limner.systems.catalogue.features_model import infer_features
from limner.systems.catalogue.features_trainer import FeaturesTrainer


def manifest(model: Path) -> dict[str, object]:
    """What the model file says about its making."""
    said = {entry.key: entry.value for entry in onnx.load(model).metadata_props}
    found = json.loads(said["limner.manifest"])
    assert isinstance(found, dict)
    return found


def test_same_seed_gives_the_same_file(drawn: list[Image.Image], tmp_path: Path) -> None:
    """Trained twice from one seed the file is the same to the byte; another seed samples other pictures."""
    # given
    trainer = FeaturesTrainer(tmp_path)

    def stream() -> Iterator[Image.Image]:
        yield from drawn[:120]

    # when
    first = trainer.train(stream(), seed=1, dims=16, sample=60)
    content = first.read_bytes()
    first.unlink()
    again = trainer.train(stream(), seed=1, dims=16, sample=60)
    other = trainer.train(stream(), seed=2, dims=16, sample=60)

    # then
    assert again.read_bytes() == content
    assert (manifest(again)["pictures"], manifest(again)["sampled"], manifest(again)["seed"]) == (120, 60, 1)
    assert manifest(again)["sample_digest"] != manifest(other)["sample_digest"]


def test_refitted_model_knows_its_pictures_again(drawn: list[Image.Image], tmp_path: Path) -> None:
    """A model refitted on pictures recognises their re-photographs, and keeps the dimensions asked for."""
    # given
    trainer = FeaturesTrainer(tmp_path)

    # when
    model = trainer.train(drawn[:150], seed=3, dims=64)
    metrics = trainer.evaluate(model, drawn[150:200])

    # then
    assert metrics["pictures"] == 50
    assert metrics["own_first"] >= 0.97
    assert infer_features(model, drawn[:1]).shape == (1, 64)


def test_evaluation_tells_a_bad_model(drawn: list[Image.Image], tmp_path: Path) -> None:
    """A projection learned from almost nothing is judged worse than a proper one."""
    # given
    trainer = FeaturesTrainer(tmp_path)
    poor = trainer.train([Image.new("RGB", (9, 9), (shade, 0, 0)) for shade in range(8)], seed=1, dims=1)

    # then
    assert trainer.evaluate(poor, drawn[:60])["own_first"] < 0.5


def test_too_few_pictures_cannot_train(drawn: list[Image.Image]) -> None:
    """Fewer pictures than components are refused in words."""
    with pytest.raises(ValueError, match="need at least 129 pictures; there are 20"):
        FeaturesTrainer().train(drawn[:20], seed=1)


def test_nothing_to_judge_by(shipped_model: Path) -> None:
    """Judged on no pictures, a model has figures of zero rather than none."""
    assert FeaturesTrainer().evaluate(shipped_model, [])["own_first"] == 0
