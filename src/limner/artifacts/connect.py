"""From a URL to the artifacts; the only file that knows the backends' names."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from limner.artifacts.base import Artifacts
from limner.errors import ConfigurationError, MissingExtra
from limner.server_client import Server, ServerClient, token_from

if TYPE_CHECKING:
    from limner.artifacts.bucket import BucketFiles


def connect_artifacts(url: str, *, copies: Path | None = None) -> Artifacts:
    """
    The artifacts behind *url*: a ``file:`` address or a path, ``s3:``, or ``https:`` and ``http:`` for a far worker.

    *copies* is the folder for copies of what is used here, where artifacts are kept elsewhere; in the user's cache
    unless it is named. A far worker's token is ``LIMNER_TOKEN``, or stands in the file ``LIMNER_TOKEN_FILE``.

    Raises:
        ConfigurationError: no backend speaks this URL, or the folder or bucket cannot be used.
        ArtifactsUnavailable: nobody answers at its address.
    """
    parts = urlsplit(url)
    copies = copies or Path("~/.cache/limner/artifacts").expanduser()
    if parts.scheme == "s3":
        return _s3(url, copies=copies)
    if parts.scheme in ("http", "https"):
        from limner.artifacts.http import HttpArtifacts

        return HttpArtifacts(ServerClient(url, token=token_from(None)), folder=copies)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        raise ConfigurationError(
            f"No artifacts are kept at {url!r} (setting `artifacts`); use file:///folder, the path of a folder, or "
            "s3://bucket/prefix."
        )
    folder = Path(unquote(parts.path) if parts.scheme else url)
    from limner.artifacts.folder import FolderArtifacts

    try:
        return FolderArtifacts(folder)
    except OSError as error:
        raise ConfigurationError(f"The folder {folder} (setting `artifacts`) cannot be used: {error}") from error


def _s3(url: str, *, copies: Path) -> Artifacts:
    from limner.artifacts.s3_place import place_of

    place = place_of(url)
    if find_spec("s3fs") is None:
        raise MissingExtra(extra="s3", needs="Keeping artifacts in an object store (setting `artifacts`)")
    from limner.artifacts.s3 import S3Artifacts

    return S3Artifacts(place, folder=copies)


def connect_bucket(url: str) -> "BucketFiles":
    """
    Files of any name at ``s3://bucket/prefix``, for what is no artifact.

    Raises:
        ConfigurationError: it is no address of a bucket.
    """
    from limner.artifacts.s3_place import place_of

    place = place_of(url)
    if find_spec("s3fs") is None:
        raise MissingExtra(extra="s3", needs="Keeping files in an object store")
    from limner.artifacts.bucket import BucketFiles

    return BucketFiles(place)


def artifacts_of_project(url: str, project: str) -> str | None:
    """The artifacts of *project* where those of `default` are in a bucket at *url*; None where they are in a folder."""
    if urlsplit(url).scheme != "s3":
        return None
    from limner.artifacts.s3_place import url_of_project

    return url_of_project(url, project)


def connect_far_artifacts(client: Server, *, copies: Path) -> Artifacts:
    """The artifacts of the server behind *client*, with copies of what is used here in a folder."""
    from limner.artifacts.http import HttpArtifacts

    return HttpArtifacts(client, folder=copies)
