"""Requests among the real data, with their addresses led to a server and a listener of this machine."""

import json
from pathlib import Path

from limner.domain.values import Value
from limner.testing.listener import CallbackListener
from limner.testing.picture_server import PictureServer


def local_request(folder: Path, name: str, pictures: PictureServer, listener: CallbackListener) -> dict[str, Value]:
    """A request of the antenna's data, as it would be sent here."""
    text = (folder / "requests" / name).read_text(encoding="utf-8")
    text = text.replace("http://127.0.0.1:8999/", pictures.url(""))
    text = text.replace("http://127.0.0.1:8998/callback", listener.url)
    found: dict[str, Value] = json.loads(text)
    return found
