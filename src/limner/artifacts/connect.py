"""From a URL to the artifacts; the only file that knows the backends' names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from limner.artifacts.base import Artifacts
from limner.errors import ConfigurationError


def connect_artifacts(url: str) -> Artifacts:
    """
    The artifacts behind *url*: a ``file:`` address or a path.

    Raises:
        ConfigurationError: no backend speaks this URL, or the folder cannot be used.
    """
    parts = urlsplit(url)
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
