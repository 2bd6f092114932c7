"""Checks a model's file before it is added and whenever asked: no pickle, whole, and an ONNX file by running it."""

import zipfile
from pathlib import Path

from msgspec import Struct

from limner.errors import LimnerError, MissingExtra
from limner.models.pickles import DAMAGED, pickle_in


class FileReport(Struct, frozen=True, kw_only=True):
    """What was found out about a model's file."""

    #: A sentence each, which says what to do; the file may be used where there is none.
    problems: tuple[str, ...] = ()
    #: A sentence each, of what works but not well.
    warnings: tuple[str, ...] = ()


def check_file(path: Path, *, filename: str, one_vector: bool = True) -> FileReport:
    """
    What is wrong with the file at *path*, whose own name is *filename*.

    No file may hold a pickle. ONNX files are run (only opened where they do not answer with *one_vector* a record),
    npz and npy files are read whole; other formats are bytes that only their inferrer knows.

    Raises:
        MissingExtra: checking needs NumPy or onnxruntime, which is not installed.
    """
    if not path.stat().st_size:
        return FileReport(problems=("The file is empty; export the model again.",))
    try:
        pickled = pickle_in(path, filename=filename)
    except DAMAGED as error:
        return FileReport(problems=(f"The archive cannot be read, so it may be cut: {error}; export it again.",))
    if pickled:
        return FileReport(
            problems=(
                f"It {pickled}, and loading a pickle runs whatever code is in it; export the model as ONNX, "
                "or save its arrays with numpy.savez.",
            )
        )
    ending = Path(filename).suffix.lower()
    if ending == ".onnx":
        return _check_onnx(path, one_vector=one_vector)
    return FileReport(problems=_problems_of_arrays(path, ending=ending))


def licence_in(path: Path, *, filename: str) -> str | None:
    """The licence that the file itself names; only ONNX files do."""
    if Path(filename).suffix.lower() != ".onnx":
        return None
    try:
        # A plain install goes without onnxruntime.
        from limner.inferrers.onnx_files import licence_of
    except ImportError as error:
        raise MissingExtra(extra="onnx", needs="Adding an ONNX model") from error
    try:
        return licence_of(path) or None
    except LimnerError:
        # What is wrong with the file is for its check to say.
        return None


def write_preprocessing(path: Path, out: Path, *, preprocess: str, licence: str) -> None:
    """
    Copy an ONNX file with preprocessing (a preset or JSON) and licence in its metadata.

    Raises:
        UsageError: the preprocessing is not valid, or *path* is no ONNX file.
        MissingExtra: onnxruntime or onnx is not installed.
    """
    try:
        # A plain install goes without onnxruntime.
        from limner.inferrers.onnx_files import with_preprocessing
    except ImportError as error:
        raise MissingExtra(extra="catalogue", needs="Writing preprocessing into an ONNX file") from error
    with_preprocessing(path, out, preset_or_json=preprocess, licence=licence)


def _check_onnx(path: Path, *, one_vector: bool) -> FileReport:
    try:
        # A plain install goes without onnxruntime.
        from limner.inferrers.onnx_files import check_onnx
    except ImportError as error:
        raise MissingExtra(extra="onnx", needs="Checking an ONNX model") from error
    found = check_onnx(path, one_vector=one_vector)
    return FileReport(problems=found.problems, warnings=found.warnings)


def _problems_of_arrays(path: Path, *, ending: str) -> tuple[str, ...]:
    """What is wrong with an npz or npy file, or with the arrays in any other zip file."""
    zipped = zipfile.is_zipfile(path)
    if ending == ".npz" and not zipped:
        return ("It is no npz file, or one that was cut; save the arrays again with numpy.savez.",)
    if ending != ".npy" and not (zipped and _names_arrays(path)):
        return ()
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtra(extra="pictures", needs="Checking a model of arrays") from error
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            # One after the other: an object array is a pickle, and a damaged one does not have its checksum.
            for name in getattr(loaded, "files", ()):
                loaded[name]
    except Exception as error:  # noqa: BLE001  NumPy raises whatever a damaged file leads it to
        return (
            f"Its arrays cannot be read without unpickling: {error}; save plain arrays of numbers with numpy.savez.",
        )
    return ()


def _names_arrays(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())
