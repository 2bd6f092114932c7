"""Short codes of long vectors by product quantisation, and the search that compares a vector with codes."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Codewords = npt.NDArray[np.uint16]

#: Looks exact vectors up by their row numbers: given n rows, an array of shape (n, dims).
VectorsOf = Callable[[npt.NDArray[np.intp]], Floats]


class Codes:
    """
    Each vector as one nearest centre per group of its rotated numbers.

    Tokens are spelt "group-centre" so that a keyword index can hold them; the code is the same as bytes, one per
    group (two, little-endian, where there are more than 256 centres).
    """

    version = "1"

    def __init__(self, model: Path) -> None:
        """
        Load an npz of ``centres`` (groups, centres, width) and, where the vectors are turned first, ``rotation``.

        Older files that call the centres ``centers`` are read as well. Nothing in the file is ever unpickled.

        Raises:
            ValueError: the file is no such model.
        """
        arrays = _read_arrays(model)
        centres = arrays.get("centres", arrays.get("centers"))
        if centres is None or centres.ndim != 3 or not centres.size or not _finite(centres):
            raise ValueError(
                f"{model.name} is no codes model: it needs centres, finite numbers (groups, centres, width)"
            )
        #: Shape (groups, centres, width), in float64: so that the batch a vector comes in cannot move it.
        self.centres: Doubles = centres.astype(np.float64)
        self.groups, self.centres_per_group, width = centres.shape
        if self.centres_per_group > 65_536:
            raise ValueError(f"{model.name} has {self.centres_per_group} centres a group; two bytes hold 65536")
        #: Length of the vectors that it encodes.
        self.dims = self.groups * width
        rotation = arrays.get("rotation")
        if rotation is not None and (rotation.shape != (self.dims, self.dims) or not _finite(rotation)):
            raise ValueError(f"{model.name}: the rotation must be {self.dims} × {self.dims} finite numbers")
        self._rotation: Doubles | None = None if rotation is None else rotation.astype(np.float64)
        #: What the trainer wrote down about itself; empty for a file that does not say.
        self.manifest: dict[str, object] = _manifest(arrays)
        #: Digests of the vectors that training saw, see ``content_keys``.
        self.seen: npt.NDArray[np.uint64] = arrays.get("seen", np.empty(0)).astype(np.uint64)
        self._half_squares: Doubles = 0.5 * np.einsum("gcw,gcw->gc", self.centres, self.centres)

    def infer(self, vector: list[Floats]) -> list[dict[str, object] | Exception]:
        """For each vector ``{"tokens": ["0-14", …], "code": bytes}``, or why it has no code."""
        problems = [self._problem(one) for one in vector]
        good = [one for one, problem in zip(vector, problems, strict=True) if problem is None]
        if not good:
            return [problem for problem in problems if problem is not None]
        codes = iter(self.encode(np.stack(good)))
        return [self._spell(next(codes)) if problem is None else problem for problem in problems]

    def encode(self, vectors: Floats) -> Codewords:
        """The centre of every group for each of *vectors* (n, dims): shape (n, groups)."""
        turned = self.rotate(vectors)
        found = np.empty((len(turned), self.groups), dtype=np.uint16)
        for group in range(self.groups):
            likeness = turned[:, group, :] @ self.centres[group].T - self._half_squares[group]
            found[:, group] = likeness.argmax(axis=1)
        return found

    def rotate(self, vectors: Floats) -> Doubles:
        """*vectors* (n, dims) turned as training turned them and cut into groups: (n, groups, width)."""
        numbers = np.asarray(vectors, dtype=np.float64)
        turned = numbers if self._rotation is None else numbers @ self._rotation
        return turned.reshape(len(numbers), self.groups, -1)

    def _problem(self, vector: Floats) -> Exception | None:
        if np.shape(vector) != (self.dims,):
            return ValueError(f"the codes model takes vectors of {self.dims} numbers, not of shape {np.shape(vector)}")
        if not _finite(np.asarray(vector)):
            return ValueError("the vector holds numbers that are not finite")
        return None

    def _spell(self, code: Codewords) -> dict[str, object]:
        packed = code.astype(np.uint8 if self.centres_per_group <= 256 else "<u2")
        return {"tokens": [f"{group}-{centre}" for group, centre in enumerate(code)], "code": packed.tobytes()}


def unpack_codes(codes: Sequence[bytes], *, model: Codes) -> Codewords:
    """The stored codes as numbers again, shape (n, groups); a ValueError where one has the wrong length."""
    dtype = np.dtype(np.uint8 if model.centres_per_group <= 256 else "<u2")
    wanted = model.groups * dtype.itemsize
    if any(len(code) != wanted for code in codes):
        raise ValueError(f"a code of this model has {wanted} bytes; codes of another model were given")
    return np.frombuffer(b"".join(codes), dtype=dtype).reshape(len(codes), model.groups).astype(np.uint16)


def asymmetric_likeness(query: Floats, codes: Codewords, *, model: Codes) -> Doubles:
    """
    Minus the squared distance between the exact *query* and the vector each of *codes* stands for, shape (n,).

    Asymmetric distance: Jégou, Douze, Schmid, "Product quantization for nearest neighbor search", 2011.
    """
    turned = model.rotate(np.asarray(query)[np.newaxis, :])[0]
    table = -((turned[:, np.newaxis, :] - model.centres) ** 2).sum(axis=2)
    found: Doubles = np.zeros(len(codes))
    # Group by group: a million codes at once would need a gigabyte.
    for group in range(model.groups):
        found += table[group][codes[:, group]]
    return found


def shared_tokens(query: Floats, codes: Codewords, *, model: Codes) -> npt.NDArray[np.intp]:
    """How many tokens each of *codes* shares with the code of *query*: what a keyword index counts, shape (n,)."""
    return np.asarray((codes == model.encode(np.asarray(query)[np.newaxis, :])).sum(axis=1), dtype=np.intp)


def search_codes(
    query: Floats,
    codes: Codewords,
    *,
    model: Codes,
    vectors_of: VectorsOf | None = None,
    n: int = 10,
    rescore: int = 100,
) -> list[tuple[int, float]]:
    """
    The *n* rows of *codes* nearest to *query*, best first, each with its score.

    With *vectors_of* the best *rescore* rows are compared again by their exact vectors (dot product); without it
    the score is minus the asymmetric squared distance. Equal scores are ordered by row.
    """
    likeness = asymmetric_likeness(query, codes, model=model)
    if vectors_of is None:
        return _best(np.arange(len(codes)), likeness, n=n)
    rows = np.sort(
        np.array([row for row, _ in _best(np.arange(len(codes)), likeness, n=max(n, rescore))], dtype=np.intp)
    )
    exact = np.asarray(vectors_of(rows), dtype=np.float64) @ np.asarray(query, dtype=np.float64)
    return _best(rows, exact, n=n)


def _best(rows: npt.NDArray[np.intp], scores: Doubles, *, n: int) -> list[tuple[int, float]]:
    order = np.lexsort((rows, -scores))[:n]
    return [(int(rows[at]), float(scores[at])) for at in order]


def _read_arrays(model: Path) -> dict[str, npt.NDArray[np.generic]]:
    try:
        with model.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, NpzFile):
                raise ValueError("it is a single array")
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{model.name} is no npz file of plain arrays (a pickled model is never read): {error}"
        ) from error


def _finite(array: npt.NDArray[np.generic]) -> bool:
    return bool(np.issubdtype(array.dtype, np.number) and np.isfinite(array).all())


def _manifest(arrays: dict[str, npt.NDArray[np.generic]]) -> dict[str, object]:
    if "manifest" not in arrays:
        return {}
    found = json.loads(arrays["manifest"].tobytes())
    if not isinstance(found, dict):
        raise ValueError("the manifest of a codes model must be a JSON object")
    return found
