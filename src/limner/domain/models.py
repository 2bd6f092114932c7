"""Models: named, versioned, content-addressed parameters of an inferrer."""

from collections.abc import Mapping

from msgspec import Struct, field

from limner.domain.tasks import ModelRef
from limner.domain.values import Value


class ModelVersion(Struct, frozen=True, kw_only=True):
    """One version of a model, with all that is known of it."""

    name: str
    number: int
    #: SHA-256 of its file, which is an artifact.
    sha256: str
    #: Name the file had, its ending included.
    filename: str
    size: int
    created: float
    #: Thresholds, licence and the like: part of the version of what uses it, handed to the inferrer.
    manifest: Mapping[str, Value] = field(default_factory=dict)
    #: Where it came from: code, digest of the sample, seed, libraries. Not part of any version.
    origin: Mapping[str, Value] = field(default_factory=dict)
    #: What it was judged by.
    metrics: Mapping[str, Value] = field(default_factory=dict)
    #: The one in the manifest.
    licence: str | None = None
    #: What its check found to work, but not well; a sentence each.
    warnings: tuple[str, ...] = ()
    #: ``private`` or ``public``.
    visibility: str = "private"

    @property
    def ref(self) -> ModelRef:
        """What a worker needs in order to fetch it."""
        return ModelRef(
            name=self.name, number=self.number, sha256=self.sha256, filename=self.filename, manifest=self.manifest
        )


class FolderReport(Struct, frozen=True, kw_only=True):
    """What a system found about a model that lies in a folder, before it is added."""

    model: str
    #: A sentence each, of why it is refused; it may be used where there is none.
    problems: tuple[str, ...] = ()
    #: A sentence each, of what works but not well.
    warnings: tuple[str, ...] = ()
    #: Whatever else was found out, by name.
    facts: Mapping[str, Value] = field(default_factory=dict)
