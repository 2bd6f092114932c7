"""Checks an ONNX file before it is added, and writes preprocessing and licence into a copy of one."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Struct
from PIL import Image

from limner.domain.values import Value
from limner.errors import InferrerBroken, MissingExtra, UsageError
from limner.inferrers.onnx import Array, OnnxModel
from limner.inferrers.preprocessing import INPUT_KEY, LICENCE_KEY, OUTPUT_KEY, metadata_of, preprocessing_of

#: Least cosine between a row inferred alone and the same row inferred in a batch.
AGREEMENT = 0.9999
_BATCH = 16
_FREE_SIZE = 8


class OnnxReport(Struct, frozen=True, kw_only=True):
    """What was found out about an ONNX file by running it."""

    #: A sentence each; the model is usable where there is none.
    problems: tuple[str, ...] = ()
    #: A sentence each, of what works but not well.
    warnings: tuple[str, ...] = ()
    #: Whether it takes pictures; otherwise vectors or numbers.
    pictures: bool = False
    #: Numbers in one answer.
    dims: int | None = None


def check_onnx(path: Path, *, one_vector: bool = True) -> OnnxReport:
    """
    Run three pictures (or seeded vectors) through *path*.

    Each answer must be finite and have one axis, and the answers of a batch of 16 must equal those of single runs
    to a cosine of 0.9999. A model that does not answer with *one_vector* a record is only opened: what its answers
    mean is known to the inferrer that reads them.
    """
    try:
        model = OnnxModel(path)
        return _tried(model) if one_vector else OnnxReport(pictures=model.pictures is not None)
    except InferrerBroken as error:
        return OnnxReport(problems=(str(error),))
    except Exception as error:  # noqa: BLE001  a model may fail in any way when it is run; that is what is asked
        return OnnxReport(problems=(f"It cannot be run: {type(error).__name__}: {error}",))


def with_preprocessing(path: Path, out: Path, *, preset_or_json: str, licence: str) -> None:
    """
    Copy the ONNX file *path* to *out* with preprocessing and licence in its metadata; older entries are replaced.

    *preset_or_json*: see :func:`limner.inferrers.preprocessing.preprocessing_of`.

    Raises:
        UsageError: the preprocessing is not valid, or *path* is no ONNX file.
        MissingExtra: the package ``onnx`` is not installed.
    """
    entries = metadata_of(preprocessing_of(preset_or_json), licence=licence)
    try:
        # Only this verb writes ONNX files; running them goes without the package.
        import onnx
    except ImportError as error:
        raise MissingExtra(extra="catalogue", needs="Writing preprocessing into an ONNX file") from error
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's errors share no base class with those of reading
        raise UsageError(f"{path.name} is no ONNX file: {error}") from error
    kept = {one.key: one.value for one in model.metadata_props}
    onnx.helper.set_model_props(model, kept | entries)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model.SerializeToString(deterministic=True))


def licence_of(path: Path) -> str | None:
    """The licence that the metadata of the ONNX file *path* names."""
    return OnnxModel(path).metadata.get(LICENCE_KEY)


def facts_of(path: Path) -> dict[str, Value]:
    """
    What the ONNX file *path* says of itself: how pictures are prepared, what is done to its output, its length.

    Raises:
        InferrerBroken: it cannot be loaded.
    """
    metadata = OnnxModel(path).metadata
    found: dict[str, Value] = {}
    for key, name in ((INPUT_KEY, "preprocessing"), (OUTPUT_KEY, "output")):
        if key in metadata:
            found[name] = msgspec.json.decode(metadata[key])
    output = found.get("output") or {}
    return {**found, "normalised": output.get("normalise") == "l2", "dims": check_onnx(path).dims}


def _tried(model: OnnxModel) -> OnnxReport:
    alone = [_infer(model, [three])[0] for three in range(3)]
    problems = list(_problems(alone))
    warnings: list[str] = []
    if model.fixed_batch is not None:
        warnings.append(
            f"The batch axis is fixed to {model.fixed_batch}, so a batch is run in pieces; "
            "export with a dynamic batch axis to run faster."
        )
    if not problems:
        together = _infer(model, [index % 3 for index in range(_BATCH)])[:3]
        agreement = min(_cosine(one, other) for one, other in zip(alone, together, strict=True))
        if agreement < AGREEMENT:
            problems.append(f"A batch of 16 answers otherwise than single runs: cosine {agreement:.6f} < {AGREEMENT}.")
    dims = None if problems else np.asarray(alone[0]).size
    return OnnxReport(
        problems=tuple(problems), warnings=tuple(warnings), pictures=model.pictures is not None, dims=dims
    )


def _infer(model: OnnxModel, which: list[int]) -> list[object]:
    if model.pictures:
        samples = _pictures()
        tensors = {model.inputs[0]: model.tensor(model.inputs[0], [samples[index] for index in which])}
    else:
        tensors = {name: _numbers(model, name)[which] for name in model.inputs}
    return model.run(tensors, count=len(which))


def _pictures() -> list[Image.Image]:
    """A slope of colours, dark seeded noise and yellow stripes: neither square, nor of one size or mean colour."""
    across, down = np.meshgrid(np.linspace(0, 255, 160), np.linspace(0, 255, 120))
    slope = np.stack([across, down, 255 - across], axis=-1)
    noise = np.random.default_rng(1).integers(0, 100, size=(200, 90, 3))
    stripes = np.repeat(((np.arange(128) // 8 % 2) * 255)[:, np.newaxis], 64, axis=1)[..., np.newaxis] * [1, 1, 0]
    return [Image.fromarray(pixels.astype(np.uint8)) for pixels in (slope, noise, stripes)]


def _numbers(model: OnnxModel, name: str) -> Array:
    """Three seeded rows for the input *name*; free sizes are taken as 8."""
    kind = model.type_of(name)
    shape = [3, *(size or _FREE_SIZE for size in model.shape_of(name))]
    if kind is np.object_:
        raise InferrerBroken(f"The model's input {name} is text; only models of numbers and pictures are checked.")
    drawn: npt.NDArray[np.float64] = np.random.default_rng(1).random(shape)
    return (drawn if np.issubdtype(kind, np.floating) else np.round(drawn)).astype(kind)


def _problems(rows: list[object]) -> Iterator[str]:
    for row in rows:
        if isinstance(row, Exception):
            yield str(row)
            return
        values = np.asarray(row)
        if not np.issubdtype(values.dtype, np.number):
            yield f"It answers with {values.dtype} and not with numbers."
            return
        if values.ndim > 1:
            yield f"It answers with shape {values.shape} for one record; one axis is wanted, so export it flattened."
            return
        if not np.isfinite(values).all():
            yield "It answers with numbers that are not finite."
            return


def _cosine(one: object, other: object) -> float:
    left, right = (np.atleast_1d(np.asarray(row, dtype=np.float64)) for row in (one, other))
    if np.allclose(left, right, rtol=1e-4, atol=1e-6):
        return 1.0
    if left.size == 1:
        # Of single numbers the cosine is 1 whatever they are.
        return 0.0
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
