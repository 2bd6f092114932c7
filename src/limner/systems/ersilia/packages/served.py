"""The inferrer of a package behind a running model server: asked over HTTP, its rows checked as those of a file."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limner.systems.ersilia.columns import Column
from limner.systems.ersilia.packages.archive import unpack
from limner.systems.ersilia.packages.base import OutputRefused
from limner.systems.ersilia.packages.cells import Cells, cells_of_rows
from limner.systems.ersilia.packages.folder import read_folder
from limner.systems.ersilia.packages.outputs import outputs_of

if TYPE_CHECKING:
    import httpx

#: Nobody can be asked now, whatever the molecules.
_BUSY = (408, 425, 429, 502, 503, 504)
#: The address or its door is wrong, whatever the molecules.
_WRONG_DOOR = (401, 403, 404, 405)
#: Of the time that a call may take, so much is waited for the server: a request that is given up can be halved, while
#: at the limit itself the process that waits is ended.
_PART = 0.9
_LONGEST = 500


class ServerAway(Exception):
    """Nobody answers at the address, or is too busy: asking again later may go well, with fewer molecules not."""

    code = "MODEL_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        #: Seconds that the server asked us to wait.
        self.retry_after = retry_after


class ServerFailed(Exception):
    """The server broke off, did not answer in time or with an error of its own: perhaps for one molecule alone."""

    code = "MODEL_UNAVAILABLE"


class ServedPackage:
    """A package that runs elsewhere, known here by its columns."""

    version = "1"

    def __init__(self, model: Path, url: str, client: "httpx.Client") -> None:
        with tempfile.TemporaryDirectory(prefix="package-") as folder:
            self._package = read_folder(unpack(model, into=Path(folder) / "model"))
        self._url = url
        self._client = client

    @staticmethod
    def environment(url: str) -> Mapping[str, str]:
        """Where it runs; what is installed there, nobody here can say."""
        return {"served": url}

    def infer(self, smiles: list[str]) -> list[object]:
        """One output a molecule; what fewer molecules would not mend is told for each of them at once."""
        try:
            cells = answered_by(self._url, smiles, columns=self._package.columns, client=self._client)
        except ServerAway as away:
            return [away] * len(smiles)
        except OutputRefused as refused:
            if refused.reason == "bad_columns" or isinstance(refused, _Unasked):
                return [refused] * len(smiles)
            raise
        return outputs_of(cells, package=self._package)


class _Unasked(OutputRefused):
    """The server takes no request at all."""


def answered_by(url: str, smiles: Sequence[str], *, columns: tuple[Column, ...], client: "httpx.Client") -> Cells:
    """
    What the server at *url* answers to ``POST /run``, checked; it has most of the time that *client* waits.

    Raises:
        ServerAway: it cannot be reached, or is busy.
        ServerFailed: it did not answer, or with an error of its own.
        OutputRefused: it refused the request, or no row of its answer can be told apart.
    """
    import httpx

    at = f"{url.rstrip('/')}/run"
    waits = client.timeout.read
    try:
        response = client.post(
            at,
            params={"orient": "records"},
            json=list(smiles),
            timeout=httpx.Timeout(waits and waits * _PART, connect=client.timeout.connect),
        )
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.PoolTimeout) as error:
        raise ServerAway(f"{at} cannot be reached: {type(error).__name__}: {error}") from error
    except httpx.TransportError as error:
        raise ServerFailed(f"{at} did not answer: {type(error).__name__}: {error}") from error
    _refuse_status(response, at=at)
    try:
        # It takes NaN and Infinity, which servers write: these are no values.
        said = json.loads(response.content)
    except ValueError as error:
        told = f"{at} answered with something that is not JSON: {error}"
        raise OutputRefused("command_failed", told, code="MODEL_ERROR") from error
    return cells_of_rows(_rows(said, columns=columns), columns=columns, count=len(smiles))


def _refuse_status(response: "httpx.Response", *, at: str) -> None:
    status = response.status_code
    if response.is_success:
        return
    told = f"{at} answered {status}: {response.text[:_LONGEST]}"
    if status in _BUSY:
        after = response.headers.get("retry-after", "")
        raise ServerAway(told, retry_after=float(after) if after.isdigit() else None)
    if status >= 500:
        raise ServerFailed(told)
    kind = _Unasked if status in _WRONG_DOOR else OutputRefused
    raise kind("command_failed", told, code="MODEL_ERROR")


def _rows(said: object, *, columns: tuple[Column, ...]) -> list[list[object]]:
    """Rows in the order of the columns: a JSON object names its members, whose order says nothing."""
    if not isinstance(said, list):
        raise OutputRefused("misaligned", f"the answer is no list of rows: {str(said)[:_LONGEST]}")
    names = [column.name for column in columns]
    declared = set(names)
    rows: list[list[object]] = []
    for number, row in enumerate(said, start=1):
        if row is not None and not (isinstance(row, dict) and row.keys() == declared):
            raise OutputRefused("bad_columns", f"row {number} {_difference(row, names)}")
        rows.append([None] * len(names) if row is None else [row[name] for name in names])
    return rows


def _difference(row: object, names: Sequence[str]) -> str:
    """How a row differs from the columns that are declared."""
    if not isinstance(row, dict):
        return f"is {str(row)[:50]!r}, and not an object with a value for each column"
    missing = next((name for name in names if name not in row), None)
    if missing is not None:
        return f"has no {missing!r}, which is declared"
    return f"has {next(name for name in row if name not in names)!r}, which is not declared"
