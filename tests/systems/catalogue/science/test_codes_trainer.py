"""Training, judging and gating of codes models."""

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from limner.systems.catalogue.codes import Codes, Floats
from limner.systems.catalogue.codes_trainer import CodesTrainer, gate


def pairs(vectors: Floats, *, shuffled_by: int | None = None) -> list[tuple[str, Floats]]:
    """The vectors with ids, in their order or in a seeded other one."""
    listed = [(f"image-{row}", vector) for row, vector in enumerate(vectors)]
    if shuffled_by is not None:
        random.Random(shuffled_by).shuffle(listed)
    return listed


def collapsed(folder: Path, *, dims: int) -> Path:
    """A model all of whose centres but one lie far away, so that every vector has the same code."""
    centres = np.full((32, 16, dims // 32), 100, dtype=np.float32)
    centres[:, 0, :] = 0
    np.savez(folder / "collapsed.npz", centres=centres)
    return folder / "collapsed.npz"


def test_d6_same_seed_gives_the_same_digest(mixture: Floats, tmp_path: Path) -> None:
    """Trained twice, even from another order, the file is the same to the byte; another seed gives another."""
    # given
    first, second = CodesTrainer(tmp_path / "first"), CodesTrainer(tmp_path / "second")

    # when
    one = first.train(pairs(mixture), seed=1, groups=16, sample=800)
    again = second.train(iter(pairs(mixture, shuffled_by=3)), seed=1, groups=16, sample=800)
    other = second.train(pairs(mixture), seed=2, groups=16, sample=800)

    # then
    assert one.name == again.name
    assert one.read_bytes() == again.read_bytes()
    assert other.name != one.name


def test_manifest_says_what_made_it(mixture: Floats, tmp_path: Path) -> None:
    """Seed, sizes, versions, the digest of the sampled ids and the features version travel in the file."""
    # when
    model = Codes(CodesTrainer(tmp_path).train(pairs(mixture), seed=5, groups=8, sample=300, features_version="f1"))

    # then
    said = model.manifest
    assert (said["seed"], said["groups"], said["centres"], said["dims"]) == (5, 8, 16, 64)
    assert (said["vectors"], said["sampled"], said["features_version"]) == (2000, 300, "f1")
    assert len(str(said["sample_ids_digest"])) == 64
    assert set(said["versions"]) == {"numpy", "scikit-learn"}  # type: ignore[call-overload]  # a mapping, by contract
    assert len(model.seen) == 300


def test_t1_vectors_are_read_as_a_stream(tmp_path: Path) -> None:
    """Twelve thousand vectors are read once and never held at once: 6 MB of them in less than 3 MB."""
    # given
    numbers = np.random.default_rng(1)

    def stream() -> Iterator[tuple[str, Floats]]:
        for row in range(12_000):
            yield f"image-{row}", numbers.standard_normal(128, dtype=np.float32)

    # when
    tracemalloc.start()
    model = CodesTrainer(tmp_path).train(stream(), seed=1, sample=500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # then
    assert Codes(model).manifest["vectors"] == 12_000
    assert peak < 3_000_000


def test_s7_codes_find_what_is_like(drawn_features: Floats, tmp_path: Path) -> None:
    """On drawn plates, rescored search by codes recalls at least 95 % of the ten nearest; tokens alone far fewer."""
    # given
    trainer = CodesTrainer(tmp_path)

    # when
    metrics = trainer.evaluate(trainer.train(drawn_features, seed=1), drawn_features)

    # then
    assert metrics["queries"] == 200
    assert metrics["recall_rescored"] >= 0.95
    assert metrics["recall_tokens"] < metrics["recall_asymmetric"] < metrics["recall_rescored"]


def test_judged_only_on_unseen_vectors(mixture: Floats, tmp_path: Path) -> None:
    """Vectors that training saw ask no questions, whatever ids they come under."""
    # given
    trainer = CodesTrainer(tmp_path)
    model = trainer.train(pairs(mixture[:1000]), seed=1, groups=16)
    keys = Codes(model).seen

    # when
    known = trainer.evaluate(model, mixture[:1000], queries=2000)
    renamed = trainer.evaluate(model, mixture, queries=2000)

    # then
    assert len(keys) == 800
    assert known["queries"] == 200
    assert renamed["queries"] == 1200


def test_t2_good_model_is_accepted(drawn_features: Floats, tmp_path: Path) -> None:
    """A model trained on what it is to encode passes the gate, also against itself as champion."""
    # given
    trainer = CodesTrainer(tmp_path)

    # when
    metrics = trainer.evaluate(trainer.train(drawn_features, seed=1), drawn_features)

    # then
    assert gate(metrics) == []
    assert gate(metrics, metrics) == []


def test_t2_collapsed_model_is_refused(drawn_features: Floats, tmp_path: Path) -> None:
    """A model that gives every vector one code is refused, with both figures."""
    # when
    metrics = CodesTrainer(tmp_path).evaluate(collapsed(tmp_path, dims=128), drawn_features)

    # then
    recall, used = gate(metrics)
    assert f"{metrics['recall_rescored']:.3f}, below 0.900" in recall
    assert "uses only 6% of its centres" in used


def test_t2_worse_than_the_champion_is_refused(drawn_features: Floats, tmp_path: Path) -> None:
    """A successor that loses more than 0.02 of the champion's recall is refused, with the champion's figure."""
    # given
    trainer = CodesTrainer(tmp_path)
    metrics = trainer.evaluate(trainer.train(drawn_features, seed=1), drawn_features)
    worse = {**metrics, "recall_rescored": 0.95}

    # then
    assert gate(worse, {**metrics, "recall_rescored": 0.96}) == []
    assert "below 0.970 (the champion's 0.990 less 0.02)" in gate(worse, {**metrics, "recall_rescored": 0.99})[0]


def test_t2_too_few_unseen_vectors_are_refused(mixture: Floats, tmp_path: Path) -> None:
    """A model that could be judged on fewer than 200 vectors is refused for that alone."""
    # given
    trainer = CodesTrainer(tmp_path)
    few = mixture[:240]

    # when
    metrics = trainer.evaluate(trainer.train(few, seed=1, groups=16), few)

    # then
    assert gate(metrics)[0] == "judged on 120 vectors that training did not see; 200 are needed"


def test_t2_model_for_other_vectors_is_refused(mixture: Floats, tmp_path: Path) -> None:
    """A model made for vectors of another length is refused with both lengths."""
    # when
    metrics = CodesTrainer(tmp_path).evaluate(collapsed(tmp_path, dims=128), mixture)

    # then
    assert gate(metrics) == ["it is made for 128 numbers; the stored vectors have 64"]


@pytest.mark.real_data
def test_t2_legacy_model_is_refused(shared_data: Path, drawn_features: Floats) -> None:
    """The original's test model is refused for real vectors, for vectors around them, and for the small model's."""
    # given
    folder = shared_data / "catalogue"
    real = np.load(folder / "real_image_vectors.npz")["features"]
    numbers = np.random.default_rng(1)
    around = real[numbers.integers(0, 9, 400)] + numbers.normal(0, 0.004, (400, 4096))
    around = (around / np.linalg.norm(around, axis=1, keepdims=True)).astype(np.float32)
    legacy, trainer = folder / "lsh_test_model.npz", CodesTrainer()

    # when
    few, many, small = (gate(trainer.evaluate(legacy, vectors)) for vectors in (real, around, drawn_features))

    # then
    assert "uses only 25% of its centres" in few[-1]
    assert "below 0.900" in many[0]
    assert "uses only 25% of its centres" in many[1]
    assert small == ["it is made for 4096 numbers; the stored vectors have 128"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"groups": 7}, "64 numbers do not divide into 7 groups"),
        ({"centres": 1}, "at least 2 centres"),
        ({"centres": 256, "sample": 100}, "need at least 256 vectors"),
        ({"sample": 0}, "at least one vector"),
    ],
)
def test_parameters_that_cannot_train(parameters: dict[str, int], words: str, mixture: Floats) -> None:
    """Parameters that fit no model are refused in words before anything is learned."""
    with pytest.raises(ValueError, match=words):
        CodesTrainer().train(mixture, seed=1, **parameters)  # type: ignore[arg-type]  # int parameters only


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([], "no vectors"),
        ([("a", np.zeros(64)), ("b", np.zeros(32))], "one length"),
        ([(str(row), np.full(64, np.nan)) for row in range(64)], "not finite"),
    ],
)
def test_vectors_that_cannot_train(vectors: list[tuple[str, Floats]], words: str) -> None:
    """No vectors, vectors of two lengths and vectors with NaN are refused in words."""
    with pytest.raises(ValueError, match=words):
        CodesTrainer().train(vectors, seed=1)
