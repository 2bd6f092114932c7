"""The chart, rendered by the real Helm: what Kubernetes takes, and what keeps pods small and harmless."""

import json
import re

import jsonschema_rs
import kubernetes_validate
import msgspec
import pytest

from limner.settings import Settings
from tests.deploy.custom_kinds import SCHEMAS
from tests.deploy.helm import CHART, Answers, Rendered, Tree, at
from tests.deploy.value_sets import BAD, EVERYTHING, GOOD
from tests.docs.test_verbs import why_not

# The first one fetches Helm.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

#: The oldest release that the chart says it is for and that there is a schema of, and the newest.
RELEASES = ("1.25", "1.37")


def pods(rendered: Rendered) -> list[tuple[str, Tree]]:
    """Every pod that a set makes: the name of its Deployment, and what it is."""
    found = []
    for one in rendered.of("Deployment"):
        pod = at(one, "spec.template.spec")
        assert isinstance(pod, dict)
        found.append((str(at(one, "metadata.name")), pod))
    return found


def listed(tree: object, path: str) -> list[Tree]:
    """The list at *path*; empty where there is none."""
    found = at(tree, path)
    return found if isinstance(found, list) else []


def test_every_set_is_rendered_or_refused(answers: Answers) -> None:
    """Helm renders what is right, refuses what is wrong, and there is nothing between."""
    assert set(answers.rendered) == set(GOOD)
    assert set(answers.refused) == set(BAD)


@pytest.mark.parametrize("named", sorted(BAD))
def test_a_refusal_names_the_value(answers: Answers, named: str) -> None:
    """Whoever sets a wrong value reads which one it is."""
    assert named in answers.refused[named]


def test_lint_finds_nothing(rendered: Rendered) -> None:
    """Helm's own lint is content with every set."""
    assert rendered.problems == []


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_takes_every_manifest(rendered: Rendered, release: str) -> None:
    """Each manifest is what its release of Kubernetes takes, with no field besides; KEDA's have fields of their own."""
    assert rendered.manifests
    for one in rendered.manifests:
        kind = str(one["kind"])
        if kind in SCHEMAS:
            jsonschema_rs.validator_for(SCHEMAS[kind]).validate(one)
        else:
            kubernetes_validate.validate(one, release, strict=True)


def test_names_are_unique_and_labelled(rendered: Rendered) -> None:
    """No manifest replaces another one, and each tells which release it belongs to."""
    names = [(one["kind"], at(one, "metadata.name")) for one in rendered.manifests]
    assert len(names) == len(set(names))
    labels = [at(one, "metadata.labels") for one in rendered.manifests]
    assert {label["app.kubernetes.io/instance"] for label in labels if isinstance(label, dict)} == {"demo"}


def test_selectors_find_their_own_pods(rendered: Rendered) -> None:
    """A Deployment's pods have the labels by which it, its Service and its budget look for them, and no other's do."""
    labels = {at(one, "metadata.name"): at(one, "spec.template.metadata.labels") for one in rendered.of("Deployment")}
    for one in rendered.of("Deployment") + rendered.of("Service") + rendered.of("PodDisruptionBudget"):
        wanted = at(one, "spec.selector.matchLabels") or at(one, "spec.selector")
        assert isinstance(wanted, dict)
        found = [name for name, has in labels.items() if isinstance(has, dict) and wanted.items() <= has.items()]
        assert found == [at(one, "metadata.name")]


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"everything"}))
def test_pods_have_no_rights(answers: Answers, name: str) -> None:
    """Not root, nothing to write to but scratch folders, no token of the cluster, no variables of other services."""
    for _, pod in pods(answers.rendered[name]):
        assert (pod["automountServiceAccountToken"], pod["enableServiceLinks"]) == (False, False)
        assert (at(pod, "securityContext.runAsNonRoot"), at(pod, "securityContext.seccompProfile.type")) == (
            True,
            "RuntimeDefault",
        )
        for container in listed(pod, "containers"):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"/project/.limner", "/tmp"} <= {mount["mountPath"] for mount in listed(container, "volumeMounts")}


def test_no_secret_stands_in_a_manifest(everything: Rendered) -> None:
    """Addresses with passwords, keys and tokens come from secrets by reference."""
    for _, pod in pods(everything):
        for variable in listed(pod, "containers.0.env"):
            if re.search("STORE|BUS|INDEX|EVENTS|SECRET|TOKEN", str(variable["name"])):
                assert set(variable) == {"name", "valueFrom"}
    assert everything.of("Secret") == []


def test_commands_can_be_typed(rendered: Rendered) -> None:
    """What a pod starts is a verb of Limner with options that it has."""
    for _, pod in pods(rendered):
        command = at(pod, "containers.0.command")
        assert isinstance(command, list)
        if command[0] != "sleep":
            assert command[:3] == ["limner", "--project", "/project"]
            assert why_not([*command[3:], *map(str, listed(pod, "containers.0.args"))]) is None


def test_settings_reach_server_and_workers(everything: Rendered) -> None:
    """The server is given every setting, a worker those that are its own."""
    told = {
        name: {one["name"]: one.get("value") for one in listed(pod, "containers.0.env")}
        for name, pod in pods(everything)
    }
    assert told["museum-server"].items() >= {
        ("LIMNER_LEASE", "120.5"),
        ("LIMNER_CACHE_BYTES", "8000000000"),
        ("LIMNER_ALLOW_HOSTS", "10.0.0.0/8,a.example.org"),
        ("LIMNER_PUBLIC_URL", "https://limner.example.org"),
    }
    worker = told["museum-worker-classify"]
    assert worker["LIMNER_CACHE_BYTES"] == "8000000000"
    assert "LIMNER_LEASE" not in worker


def test_the_schema_knows_every_setting() -> None:
    """What can be set in `settings` is every setting of Limner that has no value of its own in the chart."""
    own = {"store", "bus", "index", "events", "artifacts", "secret_key", "webhook_secret", "pipelines", "systems"}
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    fields = {field.encode_name for field in msgspec.structs.fields(Settings)}
    assert set(schema["properties"]["settings"]["properties"]) == fields - own


def test_the_set_of_everything_is_of_everything() -> None:
    """Every value of the chart is set by the set that says so."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # Helm hands it to every chart; this one uses it for nothing.
    assert set(schema["properties"]) - {"global"} == set(EVERYTHING)
    workers = EVERYTHING["workers"]
    assert isinstance(workers, list)
    assert set(schema["properties"]["workers"]["items"]["properties"]) == {key for one in workers for key in one}
