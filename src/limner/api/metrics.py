"""Figures for Prometheus, computed from the store when they are asked for: no counter to keep in step."""

import shutil
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.registry import Collector

from limner.app.hosting import Host
from limner.app.projects import Projects
from limner.domain.jobs import JobState
from limner.domain.workers import Liveness
from limner.store.progress import StageTally
from limner.store.store import Transaction

__all__ = ["CONTENT_TYPE", "metrics_of"]

#: Seconds that rates are taken over.
_WINDOW = 60.0


def metrics_of(projects: Projects) -> bytes:
    """The figures of every project that is open."""
    registry = CollectorRegistry()
    registry.register(_Figures(projects))
    return generate_latest(registry)


class _Figures(Collector):
    """Looks into each project's store once."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: what there is to tell depends on the stores."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Every figure."""
        figures = _Families()
        for name in self._projects.names():
            host = self._projects.host(name)
            with host.store.reading() as tx:
                figures.look(name, host, tx)
        yield from figures.all()


class _Families:
    """The metrics while they are filled, project by project."""

    def __init__(self) -> None:
        stage = ["project", "pipeline", "stage", "implementation"]
        self._backlog = GaugeMetricFamily(
            "limner_backlog_records", "Records in tasks that have not ended", labels=stage
        )
        self._tasks = GaugeMetricFamily("limner_backlog_tasks", "Tasks that have not ended", labels=stage)
        self._oldest = GaugeMetricFamily(
            "limner_backlog_oldest_seconds", "Age of the oldest task that has not ended", labels=stage
        )
        self._rate = GaugeMetricFamily(
            "limner_records_per_second", "Records that ended a second, over the last minute", labels=stage
        )
        self._done = CounterMetricFamily("limner_records_done", "Records inferred", labels=stage)
        self._failed = CounterMetricFamily("limner_records_failed", "Records that failed", labels=stage)
        self._expiries = CounterMetricFamily(
            "limner_lease_expiries", "Times that a worker was lost with a task", labels=["project"]
        )
        self._jobs = GaugeMetricFamily("limner_jobs_open", "Jobs that have not ended", labels=["project"])
        self._workers = GaugeMetricFamily(
            "limner_workers", "Far workers by how they are seen", labels=["project", "seen"]
        )
        self._callbacks = GaugeMetricFamily(
            "limner_callback_backlog_pages", "Pages of callbacks that wait to be delivered", labels=["project"]
        )
        self._waits = GaugeMetricFamily(
            "limner_callback_oldest_seconds", "Age of the oldest page of a callback that waits", labels=["project"]
        )
        self._bus = GaugeMetricFamily(
            "limner_bus_trouble", "1 where no message moves: the broker is away, or has an alarm", labels=["project"]
        )
        self._store = GaugeMetricFamily("limner_store_bytes", "Bytes that the database takes", labels=["project"])
        self._disk = GaugeMetricFamily("limner_disk_free_bytes", "Bytes that are free on the disk", labels=["project"])

    def all(self) -> Iterator[Metric]:
        """The metrics, filled."""
        yield from vars(self).values()

    def look(self, project: str, host: Host, tx: Transaction) -> None:
        """Add the figures of one project."""
        now = host.clock.now()
        tallies = tx.progress.by_node(since=now - _WINDOW)
        for node in tx.nodes.all():
            tally = tallies.get(node.pk)
            if tally is not None:
                self._stage([project, node.pipeline, node.stage, node.implementation], tally, now)
        self._expiries.add_metric([project], tx.progress.expiries())
        open_states = [state for state in JobState if not state.ended]
        self._jobs.add_metric([project], len(tx.progress.jobs(limit=100_000, states=open_states)))
        seen = [worker.liveness(now=now) for worker in tx.workers.listing()]
        for liveness in Liveness:
            self._workers.add_metric([project, liveness.value], seen.count(liveness))
        backlog = tx.deliveries.backlog()
        self._callbacks.add_metric([project], backlog.pages)
        self._waits.add_metric([project], now - backlog.oldest if backlog.oldest else 0)
        self._bus.add_metric([project], 1 if host.bus_trouble else 0)
        self._store.add_metric([project], tx.size)
        self._disk.add_metric([project], shutil.disk_usage(host.app.project.folder).free)

    def _stage(self, labels: list[str], tally: StageTally, now: float) -> None:
        self._backlog.add_metric(labels, tally.open)
        self._tasks.add_metric(labels, tally.tasks)
        self._oldest.add_metric(labels, max(0.0, now - tally.oldest) if tally.oldest else 0)
        self._rate.add_metric(labels, tally.recent / _WINDOW)
        self._done.add_metric(labels, tally.done)
        self._failed.add_metric(labels, tally.failed)
