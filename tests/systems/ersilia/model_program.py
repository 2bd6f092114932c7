"""The program of a small model server, run by path: `POST /run` with SMILES answers one object for each, in order."""

import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class Model(BaseHTTPRequestHandler):
    """Answers with the lengths of the SMILES, or oddly."""

    protocol_version = "HTTP/1.1"
    #: ``columns``, ``odd``, ``busy``, ``culprit`` and ``log``, as `ModelServer` explains.
    told: ClassVar[Mapping[str, object]]

    def do_GET(self) -> None:
        """It is well."""
        self._answer(200, "well")

    def do_POST(self) -> None:
        """Rows for the molecules in the body."""
        smiles = json.loads(self.rfile.read(int(self.headers["content-length"])))
        log, busy = Path(str(self.told["log"])), self.told["busy"]
        with log.open("a") as file:
            file.write(f"{len(smiles)}\n")
        if isinstance(busy, list) and len(log.read_text().split()) in busy:
            self._answer(503, "", {"retry-after": "0"})
        elif self.path != "/run?orient=records":
            self._answer(422, self.path)
        else:
            self._predict(smiles)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _predict(self, smiles: list[str]) -> None:
        odd, culprit, columns = str(self.told["odd"]), str(self.told["culprit"]), self.told["columns"]
        assert isinstance(columns, list)
        guilty = culprit in smiles
        if odd == "die" and guilty:
            os._exit(1)
        if odd == "hang" and guilty:
            # For ever, as far as whoever asks is concerned.
            time.sleep(600)
        # The last column first: what stands in an object is named.
        rows: list[object] = [{name: len(one) + n for n, name in reversed([*enumerate(columns)])} for one in smiles]
        spoilt = {"text": dict.fromkeys(columns, "many"), "nan": dict.fromkeys(columns, float("nan")), "null": None}
        if odd == "drop" and guilty:
            rows.pop(smiles.index(culprit))
        elif odd in spoilt and guilty:
            rows[smiles.index(culprit)] = spoilt[odd]
        elif odd == "rename":
            rows = [{"other": 1} for _ in rows]
        status = {"fail": 500, "refuse": 422}.get(odd, 200) if guilty else 200
        said: object = {"detail": "no rows"} if odd == "object" else rows
        self._answer(404 if odd == "missing" else status, "no JSON" if odd == "words" else json.dumps(said))

    def _answer(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "content-length": str(len(text))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())


if __name__ == "__main__":
    Model.told = json.loads(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Model).serve_forever()
