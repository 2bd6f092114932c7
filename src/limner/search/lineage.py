"""What two vectors must share to be compared: the version that made each, and those of what it was made of."""

from collections.abc import Mapping

from limner.domain.digests import digest
from limner.domain.nodes import Node
from limner.domain.outputs import Vector
from limner.engine.views import View
from limner.store.store import Transaction


def lineages(tx: Transaction, view: View) -> dict[int, str]:
    """
    By node with a version: its digest, in hexadecimal.

    A vector made of results counts by the versions of those too: the mean of another model's vectors has the same
    version as before and another meaning.
    """
    stored = tx.nodes.versions(list(view.versions.values()))
    found: dict[int, str] = {}
    for node in view.nodes:
        if node.version in stored:
            found[node.pk] = _lineage(node, stored[node.version].version.digest, found)
    return found


def _lineage(node: Node, own: str, found: Mapping[int, str]) -> str:
    upstream = [found[pk] for pk in sorted(node.upstream) if pk in found]
    if not upstream or not any(isinstance(output, Vector) for output in node.stage.outputs.values()):
        return own
    return digest([part.encode() for part in (own, *upstream)]).hex()
