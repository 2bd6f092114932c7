"""Where artifacts lie in an object store, as their URL and the environment say."""

import os
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from limner.errors import ConfigurationError

_KNOWN = ("endpoint_url", "region", "addressing")
#: Seconds to connect, and until the server says something.
_CONNECT, _READ = 5, 60


class Place(Struct, frozen=True, kw_only=True):
    """A bucket, and what the keys in it begin with."""

    bucket: str
    #: Without slashes at its ends; may be empty.
    prefix: str = ""
    #: The server; None means Amazon's own.
    endpoint: str | None = None
    region: str | None = None
    #: ``path`` (https://server/bucket/key) or ``virtual`` (https://bucket.server/key).
    addressing: str = "path"

    @property
    def shown(self) -> str:
        """How it is called in sentences; holds no secret."""
        where = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        return f"{where} at {self.endpoint}" if self.endpoint else where

    def key(self, sha256: str) -> str:
        """The key of an artifact: the path that it has in a folder of artifacts, so that either copies to the other."""
        own = f"{sha256[:2]}/{sha256[2:4]}/{sha256}"
        return f"{self.prefix}/{own}" if self.prefix else own

    def options(self) -> dict[str, object]:
        """What s3fs is opened with; keys are found by botocore, in the environment or where else it looks."""
        config: dict[str, object] = {
            "connect_timeout": _CONNECT,
            "read_timeout": _READ,
            # Whoever asks is asked again here, where it is known for how long.
            "retries": {"total_max_attempts": 1},
            # Not every server knows the newer checksums; all know the digest of the body that is signed with it.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": self.addressing, "payload_signing_enabled": True},
        }
        return {
            "endpoint_url": self.endpoint,
            "client_kwargs": {"region_name": self.region} if self.region else {},
            "config_kwargs": config,
            "use_listings_cache": False,
            "skip_instance_cache": True,
        }


def place_of(url: str, *, environment: Mapping[str, str] | None = None) -> Place:
    """
    The place that ``s3://bucket/prefix?endpoint_url=https://server&region=eu-central-1&addressing=path`` names.

    Without ``endpoint_url`` it is ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL``, without ``region`` ``AWS_REGION`` or
    ``AWS_DEFAULT_REGION``. Servers other than Amazon's are addressed by path unless told otherwise: few have a name
    for each bucket.

    Raises:
        ConfigurationError: it is no address of a bucket, or it holds a secret, which the environment should hold.
    """
    known = os.environ if environment is None else environment
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ConfigurationError(
            "The setting `artifacts` holds a key, which every listing would show; set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and write s3://bucket/prefix."
        )
    asked = dict(parse_qsl(parts.query))
    unknown = sorted(set(asked) - set(_KNOWN))
    if not parts.netloc or unknown:
        what = f"{unknown[0]} is not known" if unknown else "it names no bucket"
        raise ConfigurationError(
            f"{url!r} is no place for artifacts (setting `artifacts`): {what}; write "
            "s3://bucket/prefix?endpoint_url=https://server&region=REGION&addressing=path."
        )
    endpoint = asked.get("endpoint_url") or known.get("AWS_ENDPOINT_URL_S3") or known.get("AWS_ENDPOINT_URL") or None
    addressing = asked.get("addressing", "path" if endpoint else "auto")
    if addressing not in ("path", "virtual", "auto"):
        raise ConfigurationError(f"addressing={addressing} in the setting `artifacts` is neither path nor virtual.")
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise ConfigurationError(f"{endpoint} is no address of an object store; write https://server.")
    return Place(
        bucket=parts.netloc,
        prefix=unquote(parts.path).strip("/"),
        endpoint=endpoint,
        region=asked.get("region") or known.get("AWS_REGION") or known.get("AWS_DEFAULT_REGION") or None,
        addressing=addressing,
    )


def url_of_project(url: str, project: str) -> str:
    """The place of another project beside that of ``default`` at *url*."""
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}/projects/{project}").geturl()
