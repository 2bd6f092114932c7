"""Checks lines of a prediction file by columns: keys, molecules and cells, each bad one costing its own row."""

import csv
import io
import re
import warnings
from collections.abc import Mapping, Sequence

import polars as pl
from msgspec import Struct

from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.library.index import record_id
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction
from limner.systems.ersilia.reasons import Reason

with warnings.catch_warnings():
    # What pandera's own dependencies say while they are imported is not about what is done here.
    warnings.simplefilter("ignore")
    import pandera.polars as pa
    from pandera.errors import SchemaErrors

_PATTERNS = {KeyScheme.INCHIKEY: r"^[A-Z]{14}-[A-Z]{10}-[A-Z]$", KeyScheme.MD5: r"^[0-9a-f]{32}$"}
#: Characters of a row that cannot be read that are kept.
_SHOWN = 200
_KEY, _INPUT, _FITS = "key", "input", "fits"


class Header(Struct, frozen=True, kw_only=True):
    """Where in a line what stands; other fields of it are left alone."""

    fields: int
    key: int
    input: int
    #: The places of the model's columns.
    cells: tuple[int, ...]


def predictions_of(
    lines: Sequence[bytes], header: Header, *, columns: Sequence[Column], scheme: KeyScheme
) -> list[Prediction]:
    """What each of *lines*, without its line end, says: values, or why it says none."""
    found: list[Prediction | None] = [None] * len(lines)
    good: list[int] = []
    kept: list[bytes] = []
    for place, line in enumerate(lines):
        try:
            kept.append(_plain(line, header.fields))
            good.append(place)
        except ValueError as error:
            shown = line[:_SHOWN].decode(errors="backslashreplace")
            found[place] = _without(Prediction(key="", smiles=shown), Reason.BAD_ROW, str(error))
    if kept:
        for place, prediction in zip(good, _read(kept, header, columns, scheme), strict=True):
            found[place] = prediction
    return [one for one in found if one is not None]


def _plain(line: bytes, fields: int) -> bytes:
    """
    The line as polars reads it.

    Raises:
        ValueError: it is no text, or has another number of fields.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ValueError("The row is no UTF-8 text.") from None
    if '"' not in text:
        count = line.count(b",") + 1
    else:
        try:
            row = next(csv.reader([text], strict=True))
        except csv.Error as error:
            raise ValueError(f"The row's quotes do not end: {error}.") from None
        count = len(row)
        again = io.StringIO()
        csv.writer(again, lineterminator="").writerow(row)
        line = again.getvalue().encode()
    if count != fields:
        raise ValueError(f"The row has {count} fields, not {fields}.")
    return line


def _read(lines: list[bytes], header: Header, columns: Sequence[Column], scheme: KeyScheme) -> list[Prediction]:
    """Rows with the right number of fields, each with its values or its failure."""
    names = [str(place) for place in range(header.fields)]
    frame = pl.read_csv(
        io.BytesIO(b"\n".join(lines)),
        has_header=False,
        new_columns=names,
        infer_schema=False,
    )
    places = {_KEY: header.key, _INPUT: header.input}
    text = {name: pl.col(names[place]).fill_null("").str.strip_chars() for name, place in places.items()}
    cells = [_typed(pl.col(names[place]), column.type) for place, column in zip(header.cells, columns, strict=True)]
    read = frame.select(
        **text,
        **{f"c{n}": cell for n, (cell, _) in enumerate(cells)},
        fits=pl.all_horizontal(fits for _, fits in cells),
    )
    bad = _refused(read.select(_KEY, _INPUT, _FITS), scheme)
    predictions = [
        Prediction(key=key, smiles=smiles, values=tuple(values), record=record_id(smiles))
        for key, smiles, *values, _ in read.iter_rows()
    ]
    for place, reason in bad.items():
        row = dict(zip(names, frame.row(place), strict=True))
        told = _told(reason, predictions[place], row, header, columns, scheme)
        predictions[place] = _without(predictions[place], reason, told)
    return predictions


def _typed(text: pl.Expr, kind: ColumnType) -> tuple[pl.Expr, pl.Expr]:
    """A column's cells by its type, null where there is no value, and whether each is of the type."""
    given = pl.when(text.str.strip_chars() != "").then(text)
    if kind is ColumnType.STRING:
        return given, pl.lit(value=True)
    number = given.str.strip_chars().cast(pl.Float64, strict=False)
    finite = pl.when(number.is_finite()).then(number)
    readable = given.is_null() | number.is_not_null()
    if kind is ColumnType.FLOAT:
        return finite, readable
    # Whole numbers beyond 2**53 are read as such; those that are written as floats, by way of floats.
    whole = pl.coalesce(given.str.strip_chars().cast(pl.Int64, strict=False), finite.cast(pl.Int64, strict=False))
    return whole, readable & (finite.is_null() | (finite == finite.round()))


def _refused(frame: pl.DataFrame, scheme: KeyScheme) -> dict[int, Reason]:
    """By place of the row: why it cannot be taken, the gravest reason first."""
    schema = pa.DataFrameSchema(
        {
            _KEY: pa.Column(pl.String, pa.Check.str_matches(_PATTERNS[scheme])),
            _INPUT: pa.Column(pl.String, pa.Check.str_length(min_value=1)),
            _FITS: pa.Column(pl.Boolean, pa.Check.eq(True)),
        }
    )
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        reasons: Mapping[str, Reason] = {_KEY: Reason.BAD_KEY, _INPUT: Reason.EMPTY_INPUT, _FITS: Reason.BAD_TYPE}
        cases = errors.failure_cases.select("column", "index").iter_rows()
        found: dict[int, set[str]] = {}
        for column, place in cases:
            found.setdefault(int(place), set()).add(str(column))
        return {place: next(reasons[name] for name in reasons if name in names) for place, names in found.items()}
    return {}


def _told(
    reason: Reason,
    prediction: Prediction,
    row: Mapping[str, str | None],
    header: Header,
    columns: Sequence[Column],
    scheme: KeyScheme,
) -> str:
    """The sentence for a row that cannot be taken."""
    if reason is Reason.BAD_KEY:
        return f"The key {prediction.key[:_SHOWN]!r} is no {scheme}." if prediction.key else "The key is blank."
    if reason is Reason.EMPTY_INPUT:
        return "The row holds no SMILES."
    for place, column in zip(header.cells, columns, strict=True):
        cell = row[str(place)] or ""
        if not _reads(cell, column.type):
            return f"{cell[:_SHOWN]!r} in column {column.name} is no {column.type}."
    return "A cell is not of its column's type."


def _reads(cell: Cell, kind: ColumnType) -> bool:
    """Whether a single cell is of a type; for a sentence about a row that is not."""
    if kind is ColumnType.STRING or not str(cell).strip():
        return True
    try:
        number = float(str(cell))
    except ValueError:
        return False
    return kind is ColumnType.FLOAT or not re.search(r"\d", str(cell)) or number.is_integer()


def _without(prediction: Prediction, reason: Reason, told: str) -> Prediction:
    failed = Failed(code=reason.code, reason=reason.value, message=f"{reason.value}: {told}")
    return Prediction(key=prediction.key, smiles=prediction.smiles, failed=failed, record=prediction.record)
