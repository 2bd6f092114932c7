"""How many records wait for workers: asked of the server's figures for Prometheus, as a cluster's autoscaler does."""

from collections.abc import Collection
from datetime import timedelta

import httpx
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from limner.errors import ServerUnavailable

_FIGURE = "limner_backlog_records"
_PATIENCE = timedelta(seconds=5)


class Backlog(Struct, frozen=True, kw_only=True):
    """What counts of a server's backlog."""

    #: The server that tells it.
    url: str
    #: ``stage`` or ``pipeline.stage``; of all stages if empty.
    stages: Collection[str] = ()
    implementations: Collection[str] = ()
    #: Of one of the server's projects; of all if None.
    project: str | None = None

    def ask(self) -> int:
        """
        The records of these stages that have not ended, those in hand included.

        Raises:
            ServerUnavailable: the server cannot be reached, or tells no figures; asking again is safe.
        """
        address = f"{self.url.rstrip('/')}/metrics"
        try:
            # No token: the figures need none, and they may be told by another server than that of the token.
            answer = httpx.get(address, timeout=_PATIENCE.total_seconds())
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ServerUnavailable(f"{address} cannot be reached: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise ServerUnavailable(f"{address} answered {answer.status_code}.")
        return self.count(answer.text)

    def count(self, figures: str) -> int:
        """
        The same, of *figures* in Prometheus' text format.

        Raises:
            ServerUnavailable: they are not in this format.
        """
        try:
            families = list(text_string_to_metric_families(figures))
        except (ValueError, IndexError) as error:
            raise ServerUnavailable(f"{self.url} tells no figures: {error}") from error
        samples = [sample for family in families if family.name == _FIGURE for sample in family.samples]
        return sum(int(sample.value) for sample in samples if self._counts(sample.labels))

    def _counts(self, labels: dict[str, str]) -> bool:
        stage, way = labels.get("stage", ""), labels.get("implementation", "")
        named = stage in self.stages or f"{labels.get('pipeline')}.{stage}" in self.stages
        return (
            (named or not self.stages)
            and (way in self.implementations or not self.implementations)
            and self.project in (None, labels.get("project"))
        )
