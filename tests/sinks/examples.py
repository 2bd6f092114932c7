"""Rows that the tests of sinks share."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from limner.domain.outputs import AnyOutput, Anything, Bytes, Flag, Number, Strings, Text, Vector
from limner.domain.records import ExportRow, Provenance, RecordIn
from limner.sinks.base import export
from limner.sinks.connect import connect_sink
from limner.sinks.layout import survey

OUTPUTS: Mapping[str, Mapping[str, AnyOutput]] = {
    "palette": {"vector": Vector(length=2), "colour": Text(), "bright": Flag(), "more": Anything()},
    "codes": {"tokens": Strings(), "code": Bytes(), "size": Number(whole=True), "ratio": Number()},
    "free": {},
}
VECTOR = np.array([0.1, -1.5], dtype=np.float32)
PALETTE = {"vector": VECTOR, "colour": "#aa3311", "bright": True, "more": {"bins": [1, 2]}}
CODES = {"tokens": ["0-1", "1-7"], "code": b"\x01\xff", "size": 3, "ratio": 0.5}
FULL = ExportRow(
    record=RecordIn(
        collection="images",
        id="a",
        fields={"title": "Feet, two", "year": 1900, "tags": ["x"], "mixed": 1},
        revision="r",
        source_version=5,
        parent=("works", "w"),
    ),
    values={"palette": PALETTE, "codes": CODES, "free": [1, 2]},
    provenance={"palette": Provenance(version="v1", input="i1"), "codes": Provenance(version="v2", model="m2")},
)
BARE = ExportRow(record=RecordIn(collection="images", id="b", fields={"id": "own", "mixed": "text"}))


def exported(path: Path, rows: list[ExportRow], *, formulas: bool = False) -> Path:
    """*path*, once *rows* were exported to it, a row a page."""
    layout = survey(rows, outputs=OUTPUTS)
    assert export([[row] for row in rows], to=connect_sink(path, formulas=formulas), layout=layout) == len(rows)
    return path
