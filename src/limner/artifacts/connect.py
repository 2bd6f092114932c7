"""From a URL to the artifacts; the only file that knows the backends' names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from limner.artifacts.base import Artifacts
from limner.errors import ConfigurationError
from limner.server_client import Server, ServerClient, token_from


def connect_artifacts(url: str) -> Artifacts:
    """
    The artifacts behind *url*: a ``file:`` address or a path, or ``https:`` and ``http:`` for a far worker.

    A far worker's token is ``LIMNER_TOKEN``, or stands in the file that ``LIMNER_TOKEN_FILE`` names; its copies lie in
    the user's cache.

    Raises:
        ConfigurationError: no backend speaks this URL, or the folder cannot be used.
    """
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        from limner.artifacts.http import HttpArtifacts

        folder = Path("~/.cache/limner/artifacts").expanduser()
        return HttpArtifacts(ServerClient(url, token=token_from(None)), folder=folder)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise ConfigurationError(
            f"No artifacts are kept at {url!r} (setting `artifacts`); use file:///folder, or the path of a folder."
        )
    folder = Path(unquote(parts.path) if parts.scheme else url)
    from limner.artifacts.folder import FolderArtifacts

    try:
        return FolderArtifacts(folder)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} (setting `artifacts`) cannot be used: {error}") from error


def connect_far_artifacts(client: Server, *, copies: Path) -> Artifacts:
    """The artifacts of the server behind *client*, with copies of what is used here in a folder."""
    from limner.artifacts.http import HttpArtifacts

    return HttpArtifacts(client, folder=copies)
