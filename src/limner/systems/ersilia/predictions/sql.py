"""Predictions in SQLite or PostgreSQL: every version of every model side by side."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from limner.clock import Clock, SystemClock
from limner.errors import StoreUnavailable, UsageError
from limner.store.dialect import Row, begin, open_engine, upsert
from limner.store.statements import Statements
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release
from limner.systems.ersilia.predictions import cells
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf, Written
from limner.systems.ersilia.predictions.cursor import Cursor
from limner.systems.ersilia.predictions.tables import FORMAT, facts, metadata, predicted, shelves

#: Most keys in one IN list.
_WIDEST = 900
_COLUMNS = ("shelf", "key", "smiles", "record", "job", "cells", "failure", "detail")
#: The columns that say whether a prediction changed; who published it does not.
_TOLD = (predicted.c.smiles, predicted.c.record, predicted.c.cells, predicted.c.failure, predicted.c.detail)


class SqlPredictions(PredictionTable):
    """
    Predictions in a database of their own, or in a schema of their own on a server: a publisher that writes there
    holds up no engine.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: the database cannot be opened, or a newer Limner made it.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._engine = open_engine(url)
        self._clock = clock or SystemClock()
        self._statements = Statements()
        self._bring_up()

    def describe(self) -> str:
        """``predictions in sqlite:///…``, without a password."""
        return f"predictions in {self._engine.url.render_as_string(hide_password=True)}"

    def scheme(self) -> KeyScheme | None:
        """The scheme of its keys, from the first version that was begun."""
        with self._begun(writing=False) as connection:
            return _scheme(connection)

    def begin(self, release: Release, *, scheme: KeyScheme) -> None:
        """Note the version as incomplete; its predictions, where there are some, stay."""
        with self._begun(writing=True) as connection:
            held = _scheme(connection)
            if held is not None and held is not scheme:
                raise UsageError(f"{self.describe()} are by {held}, so predictions by {scheme} need another table.")
            connection.execute(update(facts).values(scheme=scheme.value))
            told = msgspec.json.encode(release)
            known = _shelf(connection, release.model, release.version)
            if known is not None:
                found = shelves.c.number == known
                connection.execute(update(shelves).where(found).values(release=told, complete=False))
                return
            last = connection.execute(select(func.max(shelves.c.number))).scalar_one()
            connection.execute(
                insert(shelves).values(
                    number=(last or 0) + 1,
                    model=release.model,
                    version=release.version,
                    release=told,
                    complete=False,
                    updated=0.0,
                )
            )

    def write(self, release: Release, predictions: Sequence[Prediction]) -> Written:
        """Compare with what is there, in one transaction, and write what is new or changed."""
        scheme = self._scheme_of(release)
        refused: dict[str, Failed] = {}
        rows: dict[str, Row] = {}
        for prediction in predictions:
            if prediction.key in rows or prediction.key in refused:
                continue
            why = cells.refusal(prediction, release=release, scheme=scheme)
            if why is None:
                rows[prediction.key] = _row(prediction)
            else:
                refused[prediction.key] = why
        with self._begun(writing=True) as connection:
            written = self._write(connection, release, rows)
        return msgspec.structs.replace(written, refused=refused)

    def complete(self, release: Release) -> None:
        """Note that the version is complete."""
        with self._begun(writing=True) as connection:
            number = self._number(connection, release)
            connection.execute(update(shelves).where(shelves.c.number == number).values(complete=True))

    def read(self, model: str, version: str, keys: Sequence[str]) -> dict[str, Prediction]:
        """Look the keys up by the table's own order, hundreds in one question."""
        # A key is printable ASCII: what is not cannot be there, and need not trouble the database.
        asked = [key for key in dict.fromkeys(keys) if key.isascii() and key.isprintable()]
        found: dict[str, Prediction] = {}
        with self._begun(writing=False) as connection:
            number = _shelf(connection, model, version)
            if number is None:
                return found
            for start in range(0, len(asked), _WIDEST):
                among = predicted.c.key.in_(asked[start : start + _WIDEST])
                for row in _rows(connection, number, among, *predicted.c):
                    found[row[1]] = _prediction(row)
        return found

    def count(self, model: str, version: str) -> int:
        """Count the rows that hold values."""
        with self._begun(writing=False) as connection:
            number = _shelf(connection, model, version)
            query = select(func.count()).where(predicted.c.shelf == number, predicted.c.cells.is_not(None))
            return 0 if number is None else int(connection.execute(query).scalar_one())

    def shelves(self, model: str | None = None) -> list[Shelf]:
        """The versions, in the order of their numbers."""
        query = select(shelves.c.release, shelves.c.complete, shelves.c.updated).order_by(shelves.c.number)
        if model is not None:
            query = query.where(shelves.c.model == model)
        with self._begun(writing=False) as connection:
            return [
                Shelf(release=msgspec.json.decode(release, type=Release), complete=complete, updated=updated)
                for release, complete, updated in connection.execute(query)
            ]

    def firsts(self, model: str, version: str, *, size: int) -> list[str]:
        """Every key of a version that begins a page of *size* keys in the order of the keys."""
        with self._begun(writing=False) as connection:
            number = _shelf(connection, model, version)
            place = func.row_number().over(order_by=predicted.c.key).label("place")
            keys = select(predicted.c.key, place).where(predicted.c.shelf == number).subquery()
            query = select(keys.c.key).where((keys.c.place - 1) % size == 0).order_by(keys.c.place)
            return [] if number is None else list(connection.execute(query).scalars())

    def _page(self, model: str, version: str, *, first: str, size: int) -> list[Prediction]:
        """*size* predictions of a version from the key *first* on, in the order of the keys."""
        with self._begun(writing=False) as connection:
            number = _shelf(connection, model, version)
            query = select(*predicted.c).where(predicted.c.shelf == number, predicted.c.key >= first)
            found = connection.execute(query.order_by(predicted.c.key).limit(size)) if number is not None else ()
            return [_prediction(tuple(row)) for row in found]

    def pages(self, model: str, version: str, *, first: str = "", size: int) -> Iterator[list[Prediction]]:
        """All of them, *size* at a time; each page is read when it is asked for."""
        page = self._page(model, version, first=first, size=size)
        while page:
            yield page
            # A page begins with the key that ended the one before.
            page = self._page(model, version, first=page[-1].key, size=size + 1)[1:]

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def cursor(self) -> Cursor:
        """What of each job was published where; lies in the same database and closes with it."""
        return Cursor(self._begun)

    def _bring_up(self) -> None:
        with self._begun(writing=True) as connection:
            metadata.create_all(connection)
            found = connection.execute(select(facts.c.format)).scalar_one_or_none()
            if found is None:
                connection.execute(insert(facts).values(one=1, format=FORMAT))
            elif found > FORMAT:
                raise StoreUnavailable(f"A newer Limner made the {self.describe()}; use that version.")

    def _scheme_of(self, release: Release) -> KeyScheme:
        with self._begun(writing=False) as connection:
            self._number(connection, release)
            scheme = _scheme(connection)
        assert scheme is not None, "a version was begun, and its scheme noted with it"
        return scheme

    def _number(self, connection: Connection, release: Release) -> int:
        number = _shelf(connection, release.model, release.version)
        if number is None:
            raise UsageError(f"{release.model} {release.version} was not begun in the {self.describe()}.")
        return number

    def _write(self, connection: Connection, release: Release, rows: dict[str, Row]) -> Written:
        number = self._number(connection, release)
        held: dict[str, Row] = {}
        keys = sorted(rows)
        for start in range(0, len(keys), _WIDEST):
            among = predicted.c.key.in_(keys[start : start + _WIDEST])
            found = _rows(connection, number, among, predicted.c.key, *_TOLD)
            held.update((row[0], tuple(row[1:])) for row in found)
        # In order of the keys, which is the order of the table.
        fresh = [key for key in keys if held.get(key) != _told(rows[key])]
        if fresh:
            self._statements.insert(
                connection,
                "predictions",
                lambda: upsert(predicted, key=("shelf", "key"), connection=connection),
                columns=_COLUMNS,
                rows=[(number, *rows[key]) for key in fresh],
            )
            now = self._clock.now()
            connection.execute(update(shelves).where(shelves.c.number == number).values(updated=now))
        changed = sum(key in held for key in fresh)
        return Written(new=len(fresh) - changed, changed=changed, same=len(keys) - len(fresh))

    @contextmanager
    def _begun(self, *, writing: bool) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                begin(connection, writing=writing)
                try:
                    yield connection
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
        except DBAPIError as error:
            raise StoreUnavailable(f"The {self.describe()} refused: {error.orig}") from error


def _scheme(connection: Connection) -> KeyScheme | None:
    found = connection.execute(select(facts.c.scheme)).scalar_one_or_none()
    return None if found is None else KeyScheme(found)


def _shelf(connection: Connection, model: str, version: str) -> int | None:
    """The number of a version; None where it was never begun."""
    if not (model + version).isprintable() or not (model + version).isascii():
        return None
    query = select(shelves.c.number).where(shelves.c.model == model, shelves.c.version == version)
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _rows(
    connection: Connection, number: int, among: ColumnElement[bool], *columns: ColumnElement[Any]
) -> list[tuple[Any, ...]]:
    """The driver's own rows of one shelf."""
    result = connection.execute(select(*columns).where(predicted.c.shelf == number, among))
    found = result.cursor.fetchall()
    result.close()
    return list(found)


def _row(prediction: Prediction) -> Row:
    """What is written of a prediction, in order of the columns, but for its shelf."""
    failed, values = prediction.failed, prediction.values
    return (
        prediction.key,
        prediction.smiles,
        prediction.record,
        prediction.job,
        None if values is None else cells.pack(values),
        None if failed is None else cells.pack_failed(failed),
        cells.pack_detail(prediction.detail),
    )


def _told(row: Row) -> Row:
    """What of a row says whether the prediction changed."""
    return (row[1], row[2], *row[4:])


def _prediction(row: Row) -> Prediction:
    _, key, smiles, record, job, values, failure, detail = row
    return Prediction(
        key=key,
        smiles=smiles,
        values=None if values is None else cells.unpack(values),
        failed=None if failure is None else cells.unpack_failed(failure),
        record=record,
        job=job,
        detail=cells.unpack_detail(detail),
    )
