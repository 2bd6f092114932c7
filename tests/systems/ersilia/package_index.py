"""A package index on this machine, with made packages that appeared on days of their own."""

import io
import json
import threading
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self

import pytest

_KIND = "application/vnd.pypi.simple.v1+json"


class Wheel(NamedTuple):
    """A package without code but for its version: ``import NAME; NAME.VERSION``."""

    name: str
    version: str
    #: The day on which it appeared, UTC: ``2023-03-01``; None where the index does not say.
    day: str | None = None
    needs: Sequence[str] = ()

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def metadata(self) -> str:
        """What it says of itself, which an index serves on its own, too."""
        needs = "".join(f"Requires-Dist: {one}\n" for one in self.needs)
        return f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n{needs}"

    def data(self) -> bytes:
        """Its bytes."""
        info = f"{self.name}-{self.version}.dist-info"
        files = {
            f"{self.name}.py": f"VERSION = {self.version!r}\n",
            f"{info}/METADATA": self.metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return held.getvalue()


#: In 2024 `needed` lost what `thing` of 2023 uses; nobody knew when `thing` was made.
WHEELS = (
    Wheel("thing", "1.0", "2023-03-01", ["needed"]),
    Wheel("thing", "2.0", "2024-06-01", ["needed"]),
    Wheel("needed", "1.0", "2022-01-01"),
    Wheel("needed", "2.0", "2024-01-01"),
)


class PackageIndex:
    """Serves wheels as an index does; entered, it answers until the block ends."""

    def __init__(self, wheels: Sequence[Wheel] = WHEELS) -> None:
        self.wheels = wheels
        #: Cleared: whoever downloads a wheel waits.
        self.flowing = threading.Event()
        self.flowing.set()
        #: Set once a wheel was asked for.
        self.asked = threading.Event()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flowing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The address of its list."""
        return f"http://127.0.0.1:{self._server.server_port}/simple/"

    def only_one(self, patch: pytest.MonkeyPatch, *, cache: str) -> None:
        """Have uv and pip ask this index and no other, and keep what they fetch in the folder *cache*."""
        for name, value in {
            "UV_DEFAULT_INDEX": self.url,
            "UV_NO_CONFIG": "1",
            "UV_CACHE_DIR": cache,
            "PIP_INDEX_URL": self.url,
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_NO_CACHE_DIR": "1",
            "NO_PROXY": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        for name in ("UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_EXCLUDE_NEWER"):
            patch.delenv(name, raising=False)
        for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            patch.delenv(name, raising=False)


class _Handler(BaseHTTPRequestHandler):
    index: PackageIndex

    def do_GET(self) -> None:
        """A page of the list, or a wheel."""
        _, folder, name, *_ = [*self.path.split("/"), "", ""]
        if folder == "simple":
            wheels = [wheel for wheel in self.index.wheels if wheel.name == name]
            self._answer(json.dumps(_page(name, wheels)).encode() if wheels else None, kind=_KIND)
            return
        found = {wheel.file: wheel for wheel in self.index.wheels}.get(name.removesuffix(".metadata"))
        if found is not None and name.endswith(".metadata"):
            self._answer(found.metadata.encode(), kind="text/plain")
            return
        self.index.asked.set()
        self.index.flowing.wait()
        self._answer(found and found.data(), kind="application/octet-stream")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes | None, *, kind: str) -> None:
        self.send_response(200 if body is not None else 404)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")


def _page(name: str, wheels: Sequence[Wheel]) -> dict[str, object]:
    files = [
        {
            "filename": wheel.file,
            "url": f"/files/{wheel.file}",
            "hashes": {},
            "core-metadata": True,
            **({"upload-time": _moment(wheel.day)} if wheel.day else {}),
        }
        for wheel in wheels
    ]
    return {"meta": {"api-version": "1.1"}, "name": name, "files": files}


def _moment(day: str) -> str:
    """Noon of a day, as an index writes it."""
    return datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
