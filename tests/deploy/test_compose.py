"""The compose file: whole, closed to other machines, and made of commands and settings that Limner has."""

import re
from functools import cache

import msgspec
import yaml
from compose_spec import PyCompose
from compose_spec.models import ComposeSpecification

from limner.settings import Settings
from tests.conftest import REPOSITORY
from tests.deploy.helm import Tree, at
from tests.docs.test_verbs import why_not

DEPLOY = REPOSITORY / "deploy"
OWN = ("server", "worker", "prepare")
#: Read by the command line alone.
OF_WORKERS = {"LIMNER_TOKEN_FILE"}


@cache
def text() -> str:
    """The file as it stands."""
    return (DEPLOY / "compose.yaml").read_text(encoding="utf-8")


@cache
def services() -> dict[str, Tree]:
    """Its services, with what they have in common merged in."""
    found = yaml.safe_load(text())["services"]
    assert isinstance(found, dict)
    return found


def filled(template: str) -> str:
    """*template* with a word for each variable that is needed, and the default of each other one; inner ones first."""
    while found := re.search(r"(?<!\$)\$\{[A-Z_0-9]+(?::-([^{}]*)|:\?[^{}]*)\}", template):
        template = template[: found.start()] + (found[1] or "word") + template[found.end() :]
    return template.replace("$$", "$")


def test_it_is_what_compose_takes() -> None:
    """A strict reader of the specification takes every key of it."""
    # given: variables filled in and anchors merged, as Compose does before it looks
    merged = yaml.safe_load(filled(text()))

    # when
    read = PyCompose.from_json(msgspec.json.encode(merged).decode()).to_dict()

    # then
    assert set(read["services"]) == set(services())
    assert ComposeSpecification.model_validate(read).name == "limner"


def test_every_variable_is_in_the_example() -> None:
    """What has to be filled in stands in the example of .env, and nothing there does nothing."""
    example = (DEPLOY / "compose.env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z_0-9]+)=", example, re.MULTILINE))
    used = set(re.findall(r"(?<!\$)\$\{([A-Z_0-9]+)", text()))
    assert used - {"IMAGE"} == named
    needed = set(re.findall(r"\$\{([A-Z_0-9]+):\?", text()))
    assert needed == set(re.findall(r"^([A-Z_0-9]+)=", example, re.MULTILINE)) - {"WORKERS"}


def test_no_secret_has_a_default() -> None:
    """A password that somebody forgot to set stops Compose, in place of being one that everybody knows."""
    for name in re.findall(r"\$\{([A-Z_0-9]*(?:PASSWORD|SECRET|KEY)[A-Z_0-9]*)", text()):
        assert f"${{{name}:?" in text()
        assert f"${{{name}:-" not in text()


def test_only_this_machine_reaches_it() -> None:
    """Every port that is published is one of the loopback address."""
    ports = [str(port) for service in services().values() for port in _list(service, "ports")]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_limner_has_few_rights() -> None:
    """No capabilities, a file system to read, nothing gained by starting a program."""
    for name in OWN:
        service = services()[name]
        assert service["read_only"] is True
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert services()["server"]["cap_drop"] == services()["worker"]["cap_drop"] == ["ALL"]
    assert [name for name in OWN if "user" in services()[name]] == ["prepare"]


def test_limner_is_told_what_it_knows() -> None:
    """Every variable of Limner is a setting, and every command one that can be typed."""
    known = {f"LIMNER_{field.encode_name.upper()}" for field in msgspec.structs.fields(Settings)} | OF_WORKERS
    for name in OWN:
        variables = at(services()[name], "environment")
        assert isinstance(variables, dict)
        assert {one for one in variables if one.startswith("LIMNER_")} <= known
    for name in ("server", "worker"):
        assert why_not([str(word) for word in _list(services()[name], "command")]) is None


def test_a_stop_has_more_time_than_the_grace() -> None:
    """The engine waits longer than Limner takes to finish, or give back, what it has in hand."""
    for name, times in (("server", 1), ("worker", 2)):
        words = [str(word) for word in _list(services()[name], "command")]
        grace = int(words[words.index("--grace") + 1])
        assert int(str(services()[name]["stop_grace_period"]).rstrip("s")) > times * grace


def test_what_is_mounted_is_there() -> None:
    """Files of this repository exist, volumes are declared, and who is waited for is a service."""
    volumes = yaml.safe_load(text())["volumes"]
    for service in services().values():
        for mount in _list(service, "volumes"):
            source = str(mount).partition(":")[0]
            assert source in volumes or source.startswith("${PROJECT_FOLDER") or (DEPLOY / source).exists()
        assert set(service.get("depends_on", ())) <= set(services())  # type: ignore[call-overload]  # a list or a mapping


def _list(service: Tree, key: str) -> list[object]:
    found = service.get(key, [])
    assert isinstance(found, list)
    return found
