"""Golden cases: inputs whose outputs an inferrer must reproduce before it is given work."""

import math
from collections.abc import Mapping
from pathlib import Path

from limner.domain.pipelines import StageKind
from limner.domain.reads import FileRead
from limner.domain.tasks import LocalFile
from limner.domain.values import Value, plain
from limner.inferrers.base import Inferrer, whole_value
from limner.inferrers.decode import decoder_for

#: How far a number may be off, relatively and absolutely, where a case does not say: float32 on other hardware.
TOLERANCE = 1e-3


def check_golden(
    inferrer: Inferrer, golden: Value, *, kind: StageKind = StageKind.MAP, reads: Mapping[str, FileRead | None] = {}
) -> str | None:
    """
    The first case that *inferrer* does not reproduce, as a sentence; None where it reproduces all.

    *golden* is a list of ``{"inputs": {NAME: VALUE}, "output": VALUE, "tolerance": NUMBER}``, or that list as
    ``cases`` beside a ``folder`` in which the inputs ``{"file": NAME}`` are found. Other parts of a dictionary that
    the inferrer answers than those in ``output`` are not compared.
    """
    if golden is None:
        return None
    cases, folder = (golden["cases"], Path(golden["folder"])) if isinstance(golden, dict) else (golden, Path())
    for number, case in enumerate(cases, start=1):
        found = _case_problem(inferrer, case, folder=folder, kind=kind, reads=reads)
        if found:
            return f"Golden case {number} is not reproduced: {found}."
    return None


def _case_problem(
    inferrer: Inferrer, case: Value, *, folder: Path, kind: StageKind, reads: Mapping[str, FileRead | None]
) -> str | None:
    try:
        columns = {
            name: [_decoded(inferrer, name, value, folder=folder, read=reads.get(name))]
            for name, value in case["inputs"].items()
        }
        output = inferrer.infer(columns)[0]
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it raises, the case was not reproduced
        output = error
    if isinstance(output, Exception):
        return f"it failed with {type(output).__name__}: {output}"
    wanted = whole_value(case["output"], kind=kind)
    tolerance = float(case.get("tolerance", TOLERANCE))
    return difference(plain(whole_value(output, kind=kind)), wanted, tolerance=tolerance, at="the output")


def _decoded(inferrer: Inferrer, name: str, value: Value, *, folder: Path, read: FileRead | None) -> object:
    is_file = isinstance(value, dict) and set(value) == {"file"}
    if is_file:
        value = LocalFile(path=str(folder / value["file"]), sha256="")
    decode = decoder_for(inferrer.wants()[name], read=(read or FileRead()) if is_file else None)
    return decode(value) if decode else value


def difference(found: Value, wanted: Value, *, tolerance: float, at: str) -> str | None:
    """How *found* differs from *wanted*, beginning with where; None where numbers are within *tolerance* and all is."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        parts = [(f"{at}.{key}", found.get(key), item) for key, item in wanted.items()]
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(found) != len(wanted):
            return f"{at} has {len(found)} items and not {len(wanted)}"
        parts = [(f"{at}[{i}]", one, other) for i, (one, other) in enumerate(zip(found, wanted, strict=True))]
    else:
        return None if _same(found, wanted, tolerance=tolerance) else f"{at} is {found!r} and not {wanted!r}"
    found_ones = (difference(one, other, tolerance=tolerance, at=name) for name, one, other in parts)
    return next((one for one in found_ones if one), None)


def _same(found: Value, wanted: Value, *, tolerance: float) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=tolerance, abs_tol=tolerance)
    return bool(found == wanted)
