"""Files that inferrers answer with: bytes, paths and arrays, as files named by their digests, ready to be uploaded."""

import contextlib
import hashlib
import io
import shutil
import tempfile
from pathlib import Path

from msgspec import Struct

from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.outputs import Artifact
from limner.inferrers.base import InferrerUnavailable


class WrittenFile(Struct, frozen=True, kw_only=True):
    """A file to be uploaded before the outcome that names it is answered."""

    #: In hexadecimal.
    sha256: str
    path: Path
    #: Position, in what was run, of the record that it belongs to.
    index: int


class MadeFile(Struct, frozen=True, kw_only=True):
    """What an inferrer answered for one declared artifact."""

    sha256: str
    size: int
    kind: str
    #: Where it stands; None for bytes that are not written yet.
    path: Path | None
    data: bytes = b""

    def reference(self) -> dict[str, object]:
        """What the stage's value holds in its place."""
        return {"sha256": self.sha256, "bytes": self.size, "kind": self.kind}


def made_file(name: str, answer: object, *, output: Artifact) -> MadeFile | None:
    """
    The file that *answer*, bytes, a path or an array, stands for; None for None.

    Raises:
        FailedRecord: OUTPUT_INVALID or OUTPUT_TOO_LARGE, in a sentence that begins with *name*.
    """
    if answer is None:
        return None
    if isinstance(answer, MadeFile):
        # Uploaded by whoever answers, and looked up by the platform: no inferrer makes one.
        _refuse_size(name, answer.size, output=output)
        return answer
    if isinstance(answer, Path):
        return _of_path(name, answer, output=output)
    if type(answer).__module__ == "numpy" and hasattr(answer, "ndim"):
        answer = _npy(name, answer)
    if not isinstance(answer, bytes | bytearray | memoryview):
        # A reference is refused too: one that the inferrer made up may name bytes that nobody has.
        told = f"{name} is a {type(answer).__name__} and no file; answer with bytes, a Path or a NumPy array."
        raise FailedRecord(FailureCode.OUTPUT_INVALID, told)
    data = bytes(answer)
    _refuse_size(name, len(data), output=output)
    return MadeFile(sha256=hashlib.sha256(data).hexdigest(), size=len(data), kind=output.kind, path=None, data=data)


class Scratch:
    """The folder in which made files wait for their upload: *own*, which belongs to somebody, or one made for it."""

    def __init__(self, own: Path | None) -> None:
        self._own = own
        self._made: Path | None = None

    def keep(self, file: MadeFile, *, index: int) -> WrittenFile:
        """
        *file* on disk, under its digest where it stood nowhere yet.

        Raises:
            InferrerUnavailable: it cannot be written, of which no record is to blame.
        """
        path = file.path
        if path is None:
            path = self._folder() / file.sha256
            try:
                path.write_bytes(file.data)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise InferrerUnavailable(f"The file of an output cannot be written: {error}") from error
        return WrittenFile(sha256=file.sha256, path=path, index=index)

    def drop(self, answer: object) -> None:
        """Remove a file of a failed record that the inferrer wrote among the temporary ones."""
        if isinstance(answer, Path) and self._own is not None and answer.is_relative_to(self._own):
            # A folder is no file that was written; it goes with the process.
            with contextlib.suppress(OSError):
                answer.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the folder, if it was made for this."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    def _folder(self) -> Path:
        if self._own is not None:
            return self._own
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix="limner-outputs-"))
        return self._made


def _of_path(name: str, path: Path, *, output: Artifact) -> MadeFile:
    try:
        with path.open("rb") as opened:
            _refuse_size(name, path.stat().st_size, output=output)
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            # Where the reading stopped: what is told is what was counted.
            size = opened.tell()
    except OSError as error:
        problem = f"{name} is the path {path.name}, which cannot be read: {error.strerror or error}."
        raise FailedRecord(FailureCode.OUTPUT_INVALID, problem) from error
    return MadeFile(sha256=sha256, size=size, kind=output.kind, path=path.absolute())


def _npy(name: str, array: object) -> bytes:
    """An array as the bytes of a .npy file; equal arrays have equal bytes."""
    import numpy as np  # whoever answers with an array brought it along

    numbers = np.asarray(array)
    if numbers.dtype.hasobject:
        raise FailedRecord(FailureCode.OUTPUT_INVALID, f"{name} is an array of objects, which cannot be kept.")
    if np.issubdtype(numbers.dtype, np.inexact) and not np.isfinite(numbers).all():
        raise FailedRecord(FailureCode.OUTPUT_INVALID, f"{name} holds a number that is not finite.")
    file = io.BytesIO()
    np.save(file, np.asarray(numbers, order="C"), allow_pickle=False)
    return file.getvalue()


def _refuse_size(name: str, size: int, *, output: Artifact) -> None:
    if not size:
        raise FailedRecord(FailureCode.OUTPUT_INVALID, f"{name} is a file without bytes.")
    if size > output.max_bytes:
        told = f"{name} has {size:,} bytes, and the stage allows {output.max_bytes:,} (max_bytes of its Artifact)."
        raise FailedRecord(FailureCode.OUTPUT_TOO_LARGE, told)
