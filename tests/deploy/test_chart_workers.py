"""The chart's workers: how they are started, stopped and scaled, and whom they may speak to."""

import pytest

from tests.deploy.helm import Rendered, Tree, at

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def args_of(worker: Tree) -> list[str]:
    """The words that a worker is started with."""
    found = at(worker, "spec.template.spec.containers.0.args")
    assert isinstance(found, list)
    return found


def rules(policy: Tree, way: str) -> list[Tree]:
    """The rules of a policy, one way."""
    found = at(policy, f"spec.{way}")
    assert isinstance(found, list)
    return found


def ports(policy: Tree, way: str) -> set[int]:
    """The ports that a policy opens, one way."""
    return {port["port"] for rule in rules(policy, way) for port in rule["ports"]}  # type: ignore[attr-defined]  # a list, or the test fails


def test_a_worker_serves_its_stages_for_the_server(cluster: Rendered) -> None:
    """It asks the chart's server, for the stages that are its own, on its graphics card."""
    assert args_of(cluster.the("Deployment", "-detect")) == [
        "--url=http://demo-limner-server:8080",
        "--stage=antenna.detect",
        "--stage=crop",
        "--parallel=1",
        "--grace=300",
        "--device=cuda:0",
    ]
    pod = at(cluster.the("Deployment", "-detect"), "spec.template.spec")
    assert at(pod, "containers.0.resources.limits") == {"nvidia.com/gpu": 1}
    assert at(pod, "tolerations.0.key") == "nvidia.com/gpu"


def test_a_worker_has_time_to_finish(rendered: Rendered) -> None:
    """Kubernetes kills it only after its grace was over twice: once for batches, once for answers."""
    for one in rendered.of("Deployment"):
        if "-worker-" in str(at(one, "metadata.name")):
            (grace,) = [int(word.partition("=")[2]) for word in args_of(one) if word.startswith("--grace")]
            assert int(str(at(one, "spec.template.spec.terminationGracePeriodSeconds"))) > 2 * grace


def test_the_token_is_the_one_that_is_named(everything: Rendered, cluster: Rendered) -> None:
    """A worker's own token wins over that of all."""
    named = {}
    for one in everything.of("Deployment") + cluster.of("Deployment", "-detect"):
        name = str(at(one, "metadata.name"))
        if "-worker-" in name:
            named[name] = at(one, "spec.template.spec.containers.0.env.0.valueFrom.secretKeyRef")
    assert named == {
        "museum-worker-classify": {"name": "team", "key": "password"},
        "museum-worker-cron": {"name": "limner-worker", "key": "work"},
        "demo-limner-worker-detect": {"name": "limner-worker", "key": "token"},
    }


def test_keda_scales_from_zero_on_the_backlog(cluster: Rendered) -> None:
    """As many workers as the open records ask for; a replica of the server that tells the same counts once."""
    scaled = cluster.the("ScaledObject")
    assert at(scaled, "spec.scaleTargetRef.name") == at(cluster.the("Deployment", "-detect"), "metadata.name")
    assert (at(scaled, "spec.minReplicaCount"), at(scaled, "spec.maxReplicaCount")) == (0, 4)
    assert at(scaled, "spec.triggers.0.metadata") == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": "sum(max by (project, pipeline, stage, implementation) ("
        'limner_backlog_records{pipeline="antenna",stage="detect"} or limner_backlog_records{stage="crop"}'
        ")) or vector(0)",
        "threshold": "500",
        "activationThreshold": "0",
    }


def test_keda_alone_says_how_many_there_are(cluster: Rendered) -> None:
    """A Deployment that is scaled names no number, so that an upgrade does not set it back; another one does."""
    assert at(cluster.the("Deployment", "-detect"), "spec.replicas") is None
    assert at(cluster.the("Deployment", "-rest"), "spec.replicas") == 0


def test_large_numbers_stay_whole(everything: Rendered) -> None:
    """Two million records are not written as 2e+06, which KEDA would refuse."""
    assert at(everything.the("ScaledObject", "-classify"), "spec.triggers.0.metadata.threshold") == "2000000"


def test_own_triggers_stand_as_they_are(everything: Rendered) -> None:
    """Whoever scales by something else is not given the backlog as well."""
    scaled = everything.the("ScaledObject", "-cron")
    assert [at(one, "type") for one in rules(scaled, "triggers")] == ["cron"]


def test_other_limners_do_not_count(everything: Rendered) -> None:
    """Matchers tell this one from others that the same Prometheus asks."""
    query = str(at(everything.the("ScaledObject", "-classify"), "spec.triggers.0.metadata.query"))
    assert 'stage="classify",namespace="models"}' in query


def test_every_worker_has_a_budget(rendered: Rendered) -> None:
    """A node that is emptied takes one worker of a stage at a time."""
    names = {
        at(one, "metadata.name") for one in rendered.of("Deployment") if "-worker-" in str(at(one, "metadata.name"))
    }
    budgets = {at(one, "metadata.name"): at(one, "spec.maxUnavailable") for one in rendered.of("PodDisruptionBudget")}
    assert {budgets[name] for name in names} <= {1}


def test_nobody_reaches_a_worker(rendered: Rendered) -> None:
    """Workers listen on nothing, so nothing is let in."""
    for policy in rendered.of("NetworkPolicy", "-workers"):
        assert rules(policy, "ingress") == []
        assert at(policy, "spec.policyTypes") == ["Ingress", "Egress"]


def test_a_worker_speaks_to_the_server_and_nobody_else(cluster: Rendered) -> None:
    """Names are looked up, the server is asked, files are fetched from public addresses: that is all."""
    policy = cluster.the("NetworkPolicy", "-workers")
    assert ports(policy, "egress") == {53, 8080, 80, 443}
    (server,) = [rule for rule in rules(policy, "egress") if at(rule, "ports.0.port") == 8080]
    assert at(server, "to.0.podSelector.matchLabels") == {
        "app.kubernetes.io/name": "limner",
        "app.kubernetes.io/instance": "demo",
        "app.kubernetes.io/component": "server",
    }


def test_private_networks_are_not_public(cluster: Rendered) -> None:
    """What is let out to public addresses reaches neither the cluster nor the metadata service of a cloud."""
    policy = cluster.the("NetworkPolicy", "-workers")
    (public,) = [rule for rule in rules(policy, "egress") if at(rule, "ports.0.port") == 80]
    refused = at(public, "to.0.ipBlock.except")
    assert isinstance(refused, list)
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"} <= set(refused)


def test_a_worker_of_the_broker_reaches_the_broker(everything: Rendered) -> None:
    """Closed to the public, open to the broker, the server and what was added."""
    assert ports(everything.the("NetworkPolicy", "-workers"), "egress") == {53, 8080, 5671, 3128}


def test_the_server_is_let_in_from_where_it_is_said(everything: Rendered) -> None:
    """Its own pods and the named peers reach it, on its port; it reaches store, broker and object store."""
    policy = everything.the("NetworkPolicy", "-server")
    assert ports(policy, "ingress") == {8080}
    assert ports(policy, "egress") == {53, 5433, 5671, 9000, 25}
    allowed = at(policy, "spec.ingress.0.from")
    assert isinstance(allowed, list)
    assert allowed[1:] == [{"podSelector": {}}]
