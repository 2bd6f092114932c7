"""Alerts and the dashboard ask for figures that the server tells, and fire when they should."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.helm import CHART
from tests.deploy.test_compose import DEPLOY
from tests.far.rig import Server
from tests.waiting import until

MONITORING = DEPLOY / "monitoring"
ALERTS = MONITORING / "alerts.yaml"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "limner.json"
_METRIC = re.compile(r"\blimner_[a-z_]+\b")


def promtool() -> str:
    """Prometheus' own checker; skips where it is not installed."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    return found


def test_every_figure_that_is_asked_for_is_told(tmp_path: Path) -> None:
    """Alerts, dashboard and KEDA name metrics, and labels of them, that a server at work has."""
    # given
    asked = "".join(path.read_text(encoding="utf-8") for path in (ALERTS, DASHBOARD, CHART / "templates/workers.yaml"))
    names = set(_METRIC.findall(asked))
    assert len(names) > 8

    # when
    with Server(tmp_path / "project") as server:
        server.submit([{"number": 1}])
        until(lambda: "limner_backlog_records{" in server.get("../../metrics").text)
        told = server.get("../../metrics").text

    # then
    assert names - set(_METRIC.findall(told)) == set()
    assert 'implementation="default",pipeline="far",project="default",stage="double"' in told
    assert 'limner_workers{project="default",seen="live"}' in told


def test_every_alert_says_what_to_do() -> None:
    """An alert names what is wrong and what helps, and how urgent it is."""
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_prometheus_takes_its_files() -> None:
    """Prometheus' own checker takes configuration and rules."""
    done = subprocess.run(
        [promtool(), "check", "config", str(MONITORING / "prometheus.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Over minutes that are made up, each alert fires for what it is for, once for all replicas, and not before."""
    # given
    shutil.copy(ALERTS, tmp_path)
    shutil.copy(Path(__file__).parent / "alerts_test.yaml", tmp_path)

    # when
    done = subprocess.run(
        [promtool(), "test", "rules", "alerts_test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    # then
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_finds_its_figures() -> None:
    """Every panel asks the source that is set up, and has a place of its own; the file lies where it is sought."""
    # given
    source = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    provider = yaml.safe_load((MONITORING / "grafana/provisioning/dashboards/limner.yaml").read_text())
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]

    # then
    assert {panel["datasource"]["uid"] for panel in panels} == {source["datasources"][0]["uid"]}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in panels})
    path = provider["providers"][0]["options"]["path"]
    assert f"./monitoring/grafana/dashboards:{path}:ro" in (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
