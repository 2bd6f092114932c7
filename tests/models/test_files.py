"""No file that holds a pickle becomes a model, whatever it is called; damaged files do not either."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limner.errors import ModelRefused
from limner.models.registry import Registry
from tests.inferrers.onnx_models import SQUASH_8, infinite_model, moody_model, picture_model
from tests.models.cases import array_file

_STATE = {"weights": [1.0, 2.0, 3.0]}


def _zipped(member: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("model/version", "3")
        archive.writestr(member, data)
    return buffer.getvalue()


def _tarred(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("weights")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _objects(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, np.array([_STATE], dtype=object))
    return buffer.getvalue()


_PICKLES = {
    "model.pkl": b"whatever it holds",
    "model.JOBLIB": b"whatever it holds",
    "new.bin": pickle.dumps(_STATE),
    "oldest.bin": pickle.dumps(_STATE, protocol=0),
    "old.bin": pickle.dumps(_STATE, protocol=1),
    "zlib.bin": zlib.compress(pickle.dumps(_STATE)),
    "gzip.bin": gzip.compress(pickle.dumps(_STATE)),
    "bz2.bin": bz2.compress(pickle.dumps(_STATE)),
    "xz.bin": lzma.compress(pickle.dumps(_STATE)),
    "torch.pt": _zipped("model/data.pkl", b"whatever it holds"),
    "renamed.bin": _zipped("model/weights", pickle.dumps(_STATE)),
    "tar.gz": _tarred(pickle.dumps(_STATE)),
    "disguised.onnx": pickle.dumps(_STATE),
    "disguised.npz": _zipped("a.npy", pickle.dumps(_STATE)),
    "objects.npy": _objects(np.save),
    "objects.npz": _objects(np.savez),
    "hidden.bin": _objects(np.savez),
}


@pytest.mark.parametrize("filename", _PICKLES)
def test_a_pickle_is_refused(filename: str, registry: Registry, tmp_path: Path) -> None:
    """Loading a pickle runs code, so none is added, and the sentence says what to do instead."""
    file = tmp_path / filename
    file.write_bytes(_PICKLES[filename])

    with pytest.raises(ModelRefused, match=r"pickl.*numpy\.savez"):
        registry.add("codes", file)

    assert registry.listing() == []


_HARMLESS = {
    "notes.txt": b"A plain text that ends with a full stop.",
    "dot.txt": b".",
    "model.json": b'{"trees": [1, 2, 3]}',
    "fields.crf": b"lCRF\x00\x10FOMC" + bytes(range(256)),
    "zipped.bin": _zipped("weights", b"\x00\x01\x02"),
    "compressed.bin": gzip.compress(b"plain numbers 1 2 3"),
    "tar.bin": _tarred(b"plain numbers 1 2 3"),
}


@pytest.mark.parametrize("filename", _HARMLESS)
def test_other_formats_are_bytes_that_their_inferrer_knows(filename: str, registry: Registry, tmp_path: Path) -> None:
    """What is no pickle, no arrays and no ONNX is taken as it is."""
    file = tmp_path / filename
    file.write_bytes(_HARMLESS[filename])

    version = registry.add("crf", file)

    with registry.file(version) as stored:
        assert stored.read_bytes() == _HARMLESS[filename]
        assert stored.name == filename


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_a_cut_file_of_arrays_is_refused(cut: int, registry: Registry, tmp_path: Path) -> None:
    """An npz file that stops before its end is not added."""
    file = array_file(tmp_path / "codes.npz")
    file.write_bytes(file.read_bytes()[:cut])

    with pytest.raises(ModelRefused):
        registry.add("codes", file)


def test_a_damaged_file_of_arrays_is_refused(registry: Registry, tmp_path: Path) -> None:
    """An npz file with one byte changed inside an array no longer has its checksum."""
    file = array_file(tmp_path / "codes.npz")
    data = bytearray(file.read_bytes())
    data[len(data) // 2 - 20] ^= 0xFF
    file.write_bytes(data)

    with pytest.raises(ModelRefused, match=r"codes\.npz was refused"):
        registry.add("codes", file)


@pytest.mark.parametrize("make", [moody_model, infinite_model])
def test_an_onnx_model_that_fails_its_trial_is_refused(
    make: Callable[[Path], Path], registry: Registry, tmp_path: Path
) -> None:
    """ONNX files are run: answers must be finite and the same alone as in a batch."""
    with pytest.raises(ModelRefused, match=r"not finite|cosine"):
        registry.add("features", make(tmp_path / "model.onnx"))


def test_what_works_but_not_well_is_kept_as_a_warning(registry: Registry, tmp_path: Path) -> None:
    """A fixed batch axis is no reason to refuse a model, but it is said."""
    file = picture_model(tmp_path / "model.onnx", batch=1, wanted=SQUASH_8)

    registry.add("features", file)

    assert "batch axis is fixed to 1" in " ".join(registry.show("features@1").version.warnings)


def test_weights_beside_an_onnx_file_are_missed_when_it_is_added(registry: Registry, tmp_path: Path) -> None:
    """A worker gets the one file, so a model that needs another beside it is refused and not found out later."""
    import onnx

    whole = picture_model(tmp_path / "whole.onnx", wanted=SQUASH_8)
    model = onnx.load(str(whole))
    weights = onnx.numpy_helper.from_array(np.ones((3,), dtype=np.float32), "weights")
    model.graph.initializer.append(weights)
    model.graph.node.append(onnx.helper.make_node("Mul", ["means", "weights"], ["weighted"]))
    model.graph.output[0].name = "weighted"
    onnx.save_model(
        model,
        str(tmp_path / "split.onnx"),
        save_as_external_data=True,
        location="beside.bin",
        size_threshold=0,
    )

    with pytest.raises(ModelRefused, match=r"split\.onnx was refused"):
        registry.add("features", tmp_path / "split.onnx")
