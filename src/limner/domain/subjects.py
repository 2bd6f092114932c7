"""A record as the rule of what is stale sees it."""

from collections.abc import Mapping

from limner.domain.values import Value, at_path, decode


class Subject:
    """A record as the rule sees it; its fields are decoded when something reads them."""

    __slots__ = ("_fields", "_packed", "digest", "identity", "parent", "pk", "revision")

    def __init__(
        self,
        pk: int,
        packed: bytes,
        *,
        digest: bytes,
        identity: str = "",
        revision: bytes = b"",
        parent: "Subject | None" = None,
    ) -> None:
        """
        Fields are *packed*, which *digest* covers; *identity* is the record's id.

        *revision* marks the bytes behind its addresses.
        """
        self.pk = pk
        self.identity = identity
        self.digest = digest
        self.revision = revision
        self.parent = parent
        self._packed = packed
        self._fields: Mapping[str, Value] | None = None

    @property
    def fields(self) -> Mapping[str, Value]:
        """The fields by name; ``record.id`` is among them."""
        if self._fields is None:
            self._fields = {**decode(self._packed), "record": {"id": self.identity}}
        return self._fields


def field_at(fields: Mapping[str, Value], path: tuple[str, ...]) -> Value:
    """The field at *path*; a key that holds the dots itself wins."""
    if len(path) == 1:
        return fields.get(path[0])
    whole = fields.get(".".join(path))
    return at_path(dict(fields), path) if whole is None else whole
