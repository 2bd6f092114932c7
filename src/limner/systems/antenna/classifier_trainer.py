"""Trains a small classifier on labelled slices, writes it as one ONNX file, judges it on unseen ones, and gates it."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from limner.systems.antenna.boxes import MARGIN, slice_of
from limner.systems.antenna.onnx_classifier import OnnxClassifier
from limner.systems.antenna.onnx_manifest import METADATA_KEY, Label, Manifest, PictureInput
from limner.systems.antenna.onnx_pictures import prepared_of, tensor_of
from limner.systems.antenna.onnx_slices import framed
from limner.systems.antenna.trap_pictures import night

Floats = npt.NDArray[np.float32]

LABELS = ("large", "medium", "small", "debris")
#: Side of the model's input, of the cells whose means it takes, and of the view as a part of the longer side.
SIDE = 64
_CELL = 4
_WINDOW = 0.16
_MEASURES = 3 * (SIDE // _CELL) ** 2
_HIDDEN = 32
_ROUNDS = 120
_OPSET = 17
#: One sample in so many is never trained on, so that a model can be judged at all.
_HELD_OUT = 4
#: Below these a model is not promoted; a successor may lose at most the last of the champion's accuracy.
JUDGED = 60
ACCURACY_FLOOR = 0.85
RECALL_FLOOR = 0.7
ACCURACY_LOSS = 0.02
_LICENCE = "CC0-1.0"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A labelled detection."""

    image: Image.Image
    #: x1, y1, x2, y2 in pixels of the whole image.
    box: Sequence[int]
    #: One of LABELS.
    label: str


class ClassifierTrainer:
    """A network with one hidden layer on the mean colours of 16 × 16 cells of a view that keeps the size visible."""

    def __init__(self, folder: Path | None = None) -> None:
        """Models are written into *folder*, or into a new temporary one."""
        self._folder = folder

    def train(self, samples: Iterable[tuple[str, Sample]], *, seed: int, hidden: int = _HIDDEN) -> Path:
        """
        Learn from the samples, read once as a stream of (id, sample), and write one ONNX file with its manifest.

        Which samples are held out for ``evaluate`` depends on their ids alone, one in four. The same samples, in
        any order, and the same seed give the same bytes.

        Raises:
            ValueError: a label is unknown or missing among the samples.
        """
        ids, measures, labels = _measured(samples, held_out=False)
        lacking = [name for number, name in enumerate(LABELS) if number not in labels]
        if lacking:
            raise ValueError(f"there are no samples to learn {', '.join(lacking)} from")
        mean, deviation = measures.mean(axis=0), np.maximum(measures.std(axis=0), 1e-3)
        network = MLPClassifier(
            hidden_layer_sizes=(hidden,), alpha=1.0, max_iter=_ROUNDS, n_iter_no_change=_ROUNDS, random_state=seed
        )
        with threadpool_limits(limits=1), warnings.catch_warnings():
            # The number of rounds is fixed on purpose.
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit((measures - mean) / deviation, labels)
        facts = {
            "seed": seed,
            "samples": len(ids),
            "sample_ids_digest": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            "versions": {name: version_of(name) for name in ("numpy", "scikit-learn", "onnx", "pillow")},
        }
        content = _model(network, mean=mean, deviation=deviation, facts=facts)
        folder = self._folder or Path(mkdtemp(prefix="limner-classifier-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"classifier-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
        path.write_bytes(content)
        return path

    def evaluate(self, model: Path, samples: Iterable[tuple[str, Sample]]) -> dict[str, float]:
        """
        How often the best label is right on samples that no training saw: overall, and for each label.

        ``recall_min`` is that of the worst label that has samples.
        """
        classifier = OnnxClassifier(model=model)
        truth, right = [], []
        for _, sample in _part_of(samples, held_out=True):
            (answer,) = classifier.infer([sample.image], [sample.box])
            if isinstance(answer, Exception):
                raise answer
            truth.append(sample.label)
            right.append(_first(answer) == sample.label)
        hits, names = np.array(right, dtype=bool), np.array(truth)
        recalls = {f"recall_{name}": float(hits[names == name].mean()) for name in LABELS if (names == name).any()}
        return {
            "samples": float(len(hits)),
            "accuracy": float(hits.mean()) if len(hits) else 0.0,
            **recalls,
            "recall_min": min(recalls.values(), default=0.0),
        }


def gate(metrics: dict[str, float], champion: dict[str, float] | None = None) -> list[str]:
    """Why a classifier must not be promoted, each reason with its figures; empty where it may."""
    reasons = []
    if metrics["samples"] < JUDGED:
        reasons.append(f"judged on {metrics['samples']:.0f} samples that training did not see; {JUDGED} are needed")
    floor, against = ACCURACY_FLOOR, "the floor"
    if champion is not None and champion["accuracy"] - ACCURACY_LOSS > floor:
        floor = champion["accuracy"] - ACCURACY_LOSS
        against = f"the champion's {champion['accuracy']:.3f} less {ACCURACY_LOSS}"
    if metrics["accuracy"] < floor:
        reasons.append(f"accuracy is {metrics['accuracy']:.3f}, below {floor:.3f} ({against})")
    if metrics["recall_min"] < RECALL_FLOOR:
        reasons.append(
            f"the worst label is found in {metrics['recall_min']:.0%} of its samples; {RECALL_FLOOR:.0%} are needed"
        )
    return reasons


def trap_samples(*, seed: int, nights: int, things: int = 24) -> Iterator[tuple[str, Sample]]:
    """Labelled samples from made nights, one picture each: what the project's own classifier learns from."""
    for number in range(nights):
        for frame in night(seed=seed + number, frames=1, things=things, size=(1024, 540)):
            for thing in frame.things:
                sample = Sample(image=frame.image, box=thing.box, label=thing.label)
                yield f"{seed + number}/{thing.track}", sample


def manifest_of() -> Manifest:
    """The manifest that the models have: a view of 64 × 64 in which the size stays visible."""
    return Manifest(
        input=PictureInput(size=(SIDE, SIDE), resize="stretch"),
        output="logits",
        labels=tuple(Label(id=name, name=name) for name in LABELS),
        window=_WINDOW,
    )


def _measured(
    samples: Iterable[tuple[str, Sample]], *, held_out: bool
) -> tuple[list[str], Floats, npt.NDArray[np.intp]]:
    """Ids, means of cells (n, 768) and labels, by id."""
    rows: list[tuple[str, Floats, int]] = []
    for identity, sample in _part_of(samples, held_out=held_out):
        if sample.label not in LABELS:
            raise ValueError(f"{sample.label!r} is no label of this classifier; known are: {', '.join(LABELS)}")
        rows.append((identity, _measures(sample), LABELS.index(sample.label)))
    if not rows:
        raise ValueError("there are no samples to learn from")
    rows.sort(key=lambda row: row[0])
    return [row[0] for row in rows], np.stack([row[1] for row in rows]), np.array([row[2] for row in rows])


def _part_of(samples: Iterable[tuple[str, Sample]], *, held_out: bool) -> Iterator[tuple[str, Sample]]:
    """The samples that are held out, or all others; told by their ids, so that it never changes."""
    for identity, sample in samples:
        rank = int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=8).digest())
        if (rank % _HELD_OUT == 0) == held_out:
            yield identity, sample


def _measures(sample: Sample) -> Floats:
    """The means of the cells of one sample's view, channel by channel: just what the model's first nodes make."""
    manifest = manifest_of()
    part = slice_of(sample.image, sample.box, margin=MARGIN)
    view = framed(part, side=round(_WINDOW * max(sample.image.size)), fill=manifest.input.fill)
    tensor = tensor_of([prepared_of(view, wanted=manifest.input)[0]], wanted=manifest.input)
    cells = SIDE // _CELL
    found: Floats = tensor.reshape(3, cells, _CELL, cells, _CELL).mean(axis=(2, 4)).ravel()
    return found


def _model(network: MLPClassifier, *, mean: Floats, deviation: Floats, facts: Mapping[str, object]) -> bytes:
    cell = [_CELL, _CELL]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=cell, strides=cell),
        helper.make_node("Flatten", ["cells"], ["measures"], axis=1),
        helper.make_node("Sub", ["measures", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "weights1", "bias1"], ["inner"]),
        helper.make_node("Relu", ["inner"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "weights2", "bias2"], ["logits"]),
    ]
    constants = {
        "mean": mean,
        "deviation": deviation,
        "weights1": network.coefs_[0],
        "bias1": network.intercepts_[0],
        "weights2": network.coefs_[1],
        "bias2": network.intercepts_[1],
    }
    graph = helper.make_graph(
        nodes,
        "limner-antenna-classifier",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(np.ascontiguousarray(one, dtype=np.float32), name) for name, one in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8, producer_name="limner"
    )
    for key, value in _metadata(facts).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _metadata(facts: Mapping[str, object]) -> dict[str, str]:
    """The manifest, and beside it what lets any ONNX inferrer of the platform run the file on a picture."""
    platform_input = {"size": [SIDE, SIDE], "resize": "squash", "layout": "NCHW", "channels": "RGB"}
    return {
        METADATA_KEY: json.dumps(msgspec.to_builtins(manifest_of()), sort_keys=True),
        "limner.input": json.dumps(platform_input, sort_keys=True),
        "limner.licence": _LICENCE,
        "limner.manifest": json.dumps(facts, sort_keys=True),
    }


def _first(answer: Mapping[str, object]) -> str:
    labels = answer["labels"]
    if not isinstance(labels, list):
        raise TypeError("a classifier answers with a list of labels")
    return str(labels[0]["id"])
