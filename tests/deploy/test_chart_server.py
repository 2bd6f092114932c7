"""The chart's server: probes, replicas, a volume, and a stop that nothing is lost by."""

import re

import pytest

from tests.deploy.helm import Answers, Rendered, at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_server_is_probed(rendered: Rendered) -> None:
    """Whether it lives is asked on one route, whether it can work on another, and a slow start is waited for."""
    server = at(rendered.the("Deployment", "-server"), "spec.template.spec.containers.0")
    assert at(server, "livenessProbe.httpGet.path") == at(server, "startupProbe.httpGet.path") == "/healthz"
    assert at(server, "readinessProbe.httpGet.path") == "/readyz"
    startup = [int(str(at(server, f"startupProbe.{name}"))) for name in ("periodSeconds", "failureThreshold")]
    assert startup[0] * startup[1] >= 120


def test_a_stop_has_more_time_than_the_grace(rendered: Rendered) -> None:
    """Kubernetes waits longer than what SIGTERM is answered by: pause, requests, workers, answers."""
    for one in rendered.of("Deployment", "-server"):
        patience = int(str(at(one, "spec.template.spec.terminationGracePeriodSeconds")))
        words = " ".join(map(str, _words(one)))
        found = re.search(r"--grace=(\d+)", words)
        assert found
        assert patience > 5 + int(found[1])


def _words(deployment: object) -> list[object]:
    found = at(deployment, "spec.template.spec.containers.0.args")
    assert isinstance(found, list)
    return found


def test_replicas_stand_by(cluster: Rendered) -> None:
    """Several servers are on several nodes, and one at a time is taken from them."""
    server = cluster.the("Deployment", "-server")
    assert at(server, "spec.replicas") == 3
    assert at(server, "spec.template.spec.topologySpreadConstraints.0.topologyKey") == "kubernetes.io/hostname"
    assert at(cluster.the("PodDisruptionBudget", "-server"), "spec.maxUnavailable") == 1


def test_one_server_has_no_budget(answers: Answers) -> None:
    """A budget for a single pod would keep its node from ever being emptied."""
    assert answers.rendered["minimal"].of("PodDisruptionBudget") == []


def test_a_volume_is_given_to_one_server_at_a_time(answers: Answers) -> None:
    """With a volume the old server ends before the new one begins, and the volume outlives the release."""
    found = answers.rendered["volume"]
    server = found.the("Deployment", "-server")
    assert (at(server, "spec.strategy.type"), at(server, "spec.replicas")) == ("Recreate", 1)
    claim = found.the("PersistentVolumeClaim")
    assert at(server, "spec.template.spec.volumes.0.persistentVolumeClaim.claimName") == at(claim, "metadata.name")
    annotations = at(claim, "metadata.annotations")
    assert annotations == {"helm.sh/resource-policy": "keep"}


def test_without_workers_there_are_none(answers: Answers) -> None:
    """Where all workers are far, the server infers nothing but what is light, and is reached by its host."""
    found = answers.rendered["far"]
    assert [at(one, "metadata.name") for one in found.of("Deployment")] == ["demo-limner-server"]
    assert "--workers=0" in _words(found.the("Deployment", "-server"))
    assert at(found.the("Ingress"), "spec.rules.0.host") == "limner.example.org"


def test_notes_name_the_next_step(rendered: Rendered) -> None:
    """The server refuses to listen without a token, so the first thing told is how to make one."""
    assert "limner token create" in rendered.notes
