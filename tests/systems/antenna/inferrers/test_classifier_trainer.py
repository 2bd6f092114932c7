"""The project's own classifier is trained from made pictures, judged on unseen ones, and gated."""

import re
from pathlib import Path

import pytest

from limner.inferrers.onnx_files import check_onnx
from limner.systems.antenna.classifier_trainer import LABELS, ClassifierTrainer, Sample, gate, trap_samples
from limner.systems.antenna.onnx_classifier import OnnxClassifier
from tests.systems.antenna.inferrers.matching import well

Samples = list[tuple[str, Sample]]
GOOD = {"samples": 200.0, "accuracy": 0.93, "recall_min": 0.8}


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Labelled slices of fourteen made pictures."""
    return list(trap_samples(seed=100, nights=14))


@pytest.fixture(scope="module")
def model(samples: Samples, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was trained on them."""
    return ClassifierTrainer(tmp_path_factory.mktemp("models")).train(samples, seed=1)


def test_same_seed_gives_the_same_file(samples: Samples, model: Path, tmp_path: Path) -> None:
    """The order of the samples changes nothing, another seed does."""
    again = ClassifierTrainer(tmp_path).train(samples[::-1], seed=1)
    other = ClassifierTrainer(tmp_path).train(samples, seed=2)
    assert again.read_bytes() == model.read_bytes()
    assert other.read_bytes() != model.read_bytes()


def test_model_carries_its_manifest(samples: Samples, model: Path) -> None:
    """Loaded from the file alone, the model names its four labels, and large things are large."""
    # given
    classifier = OnnxClassifier(model=model)
    large = [sample for _, sample in samples if sample.label == "large"][:10]

    # when
    answers = well(classifier.infer([one.image for one in large], [one.box for one in large]))

    # then
    listed = [answer["labels"] for answer in answers]
    assert all(isinstance(found, list) and sorted(one["id"] for one in found) == sorted(LABELS) for found in listed)
    assert sum(found[0]["id"] == "large" for found in listed if isinstance(found, list)) >= 9


def test_platform_accepts_the_file(model: Path) -> None:
    """The check that every ONNX file must pass before it is added finds nothing wrong."""
    report = check_onnx(model)
    assert report.problems == ()
    assert report.pictures
    assert report.dims == len(LABELS)


def test_judged_on_unseen_samples_only(samples: Samples, model: Path) -> None:
    """One sample in four is judged by; they are told right well above chance even from a small training."""
    metrics = ClassifierTrainer().evaluate(model, samples)
    assert 0.15 * len(samples) < metrics["samples"] < 0.35 * len(samples)
    assert metrics["accuracy"] >= 0.75
    assert set(metrics) >= {f"recall_{name}" for name in LABELS} | {"recall_min"}


def test_samples_must_show_every_label(samples: Samples, tmp_path: Path) -> None:
    """Without debris nothing can be learned of debris, and a label that nobody knows is refused."""
    trainer = ClassifierTrainer(tmp_path)
    with pytest.raises(ValueError, match="no samples to learn debris from"):
        trainer.train([one for one in samples if one[1].label != "debris"], seed=1)
    image = samples[0][1].image
    odd = [(f"{number}", Sample(image=image, box=(0, 0, 9, 9), label="wasp")) for number in range(9)]
    with pytest.raises(ValueError, match="'wasp' is no label"):
        trainer.train(odd, seed=1)
    with pytest.raises(ValueError, match="no samples to learn from"):
        trainer.train([], seed=1)


def test_gate_lets_good_models_pass() -> None:
    """A model above the floors, and no worse than the champion, has no reasons against it."""
    assert gate(GOOD) == []
    assert gate(GOOD, {**GOOD, "accuracy": 0.94}) == []


@pytest.mark.parametrize(
    ("worse", "champion", "sentence"),
    [
        ({"samples": 12.0}, None, "judged on 12 samples"),
        ({"accuracy": 0.6}, None, r"accuracy is 0\.600, below 0\.850 \(the floor\)"),
        ({"recall_min": 0.2}, None, "found in 20% of its samples"),
        ({}, {"accuracy": 0.99}, r"below 0\.970 \(the champion's 0\.990 less 0\.02\)"),
    ],
)
def test_gate_names_figures(worse: dict[str, float], champion: dict[str, float] | None, sentence: str) -> None:
    """Each reason against a model names what was measured and what is needed."""
    (reason,) = gate({**GOOD, **worse}, champion and {**GOOD, **champion})
    assert re.search(sentence, reason)


@pytest.mark.slow
def test_trained_model_passes_its_gate(tmp_path: Path) -> None:
    """Trained on forty made pictures it tells those of other nights apart, 85 in 100 right, no label below 70."""
    # given
    trainer = ClassifierTrainer(tmp_path)
    model = trainer.train(trap_samples(seed=100, nights=40), seed=1)

    # when
    metrics = trainer.evaluate(model, trap_samples(seed=9000, nights=20))

    # then
    assert gate(metrics) == []
