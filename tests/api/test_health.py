"""Health, readiness and figures, which need no token and stay quick."""

import time
from pathlib import Path

import pytest

from tests.api.served import Served, serving


def test_health_and_readiness(served: Served) -> None:
    """The server says that it lives and that its store answers."""
    assert served.client.get("/healthz").json() == {"status": "healthy"}
    assert served.client.get("/readyz").json() == {"status": "ready", "bus": "well"}


def test_figures(served: Served) -> None:
    """The figures for Prometheus hold backlog, age, rates, failures, expiries, callbacks, disk and workers."""
    # given
    served.put("words", {"id": "figure", "text": "f"})

    # when
    text = served.client.get("/metrics").text

    # then
    wanted = (
        "limner_backlog_records",
        "limner_backlog_oldest_seconds",
        "limner_records_per_second",
        "limner_records_failed_total",
        "limner_lease_expiries_total",
        "limner_bus_trouble",
        "limner_callback_backlog_pages",
        "limner_disk_free_bytes",
        "limner_workers",
        "limner_store_bytes",
    )
    assert [name for name in wanted if name not in text] == []
    assert (
        'limner_records_done_total{implementation="default",pipeline="words",project="default",stage="shout"}' in text
    )


@pytest.mark.slow
def test_health_while_a_long_batch_runs(project: Path) -> None:
    """Health is answered at once while an inferrer is busy for seconds."""
    source = (project / "inferrers.py").read_text(encoding="utf-8")
    slow = source.replace("        broken =", "        import time\n\n        time.sleep(1.5)\n        broken =")
    (project / "inferrers.py").write_text(slow, encoding="utf-8")
    with serving(project) as served:
        # given
        served.client.get("/v2/models/shout/ready")
        made = served.client.post(
            "/api/v1/jobs", json={"pipeline": "words", "records": [{"id": "a", "text": "a"}]}
        ).json()

        # when
        times = []
        while served.client.get(made["href"]).json()["ended"] is None:
            began = time.perf_counter()
            assert served.client.get("/healthz").status_code == 200
            times.append(time.perf_counter() - began)

        # then
        times.sort()
        assert times[len(times) // 2] < 0.05


def test_status_and_pipelines(served: Served) -> None:
    """Pipelines are shown as declared, with where they stand, and the failure codes are listed."""
    # given
    served.put("words", {"id": "stands", "text": "s"})

    # when
    pipelines = {one["name"]: one for one in served.client.get("/api/v1/pipelines").json()["items"]}
    stands = {one["pipeline"]: one for one in served.client.get("/api/v1/status").json()["items"]}
    codes = [one["code"] for one in served.client.get("/api/v1/failures/codes").json()["items"]]
    plan = served.client.get("/api/v1/pipelines/words/plan").json()

    # then
    assert [stage["name"] for stage in pipelines["words"]["stages"]] == ["shout", "letters", "code"]
    assert stands["words"]["counts"]["records"] >= 1
    assert "SOURCE_NOT_FOUND" in codes
    assert plan["stages"]["shout"]["stale"] == 0
    assert served.client.get("/api/v1/pipelines/nothing").status_code == 404


def test_failures_are_listed(project: Path) -> None:
    """What failed and is not mended is listed with stage, code and attempts."""
    (project / "broken").write_text("bad", encoding="utf-8")
    with serving(project) as served:
        # given
        job = served.put("words", {"id": "bad", "text": "bad"})

        # when
        found = served.client.get("/api/v1/failures", params={"job": job}).json()["items"]

        # then
        assert ("bad", "shout", "MODEL_ERROR") in {(one["id"], one["stage"], one["code"]) for one in found}
