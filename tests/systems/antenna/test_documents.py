"""The antenna's pages tell what is there: every failure code, every stage, every parameter of what ships."""

import inspect
import re

import pytest

from limner.domain.failures import FailureCode
from limner.systems.antenna import system
from limner.systems.antenna.process_service import ProcessService
from limner.systems.antenna.wire_stages import INTERNAL, STAGES
from tests.conftest import REPOSITORY

PAGES = REPOSITORY / "docs" / "systems" / "antenna"


def page(name: str) -> str:
    """The text of a page."""
    return (PAGES / name).read_text(encoding="utf-8")


def test_codes_are_those_of_the_enum() -> None:
    """The page of failures explains every code with an example, and no other."""
    # when
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \| ([^|]+) \|$", page("failures.md"), flags=re.MULTILINE)

    # then
    assert [code for code, _, _ in rows] == list(dict.fromkeys(code for code, _, _ in rows))
    assert {code for code, _, _ in rows} == {code.value for code in FailureCode}
    assert all(example.strip() and help_.strip() for _, example, help_ in rows)


@pytest.mark.parametrize("name", sorted(STAGES))
def test_stage_is_explained(name: str) -> None:
    """Each wire name stands in the table of stages beside its stage and what is in the box."""
    # given
    (pipeline,) = system.pipelines
    stage = pipeline.stage(STAGES[name])

    # when
    (row,) = re.findall(rf"^\| {name} \| .+ \|$", page("pipeline-stages.md"), flags=re.MULTILINE)

    # then
    assert f"`{stage.name}`" in row
    for way in set(stage.implementations) - {"given"}:
        assert f"`{way}`" in row


def test_stages_that_nobody_names_are_told() -> None:
    """Stages that come by themselves are named, too."""
    for name in INTERNAL:
        assert f"`{name}`" in page("pipeline-stages.md")


def test_parameters_of_the_push_adapter_are_told() -> None:
    """Every parameter of the adapter stands in its table."""
    # given
    taken = set(inspect.signature(ProcessService).parameters) - {"client", "clock"}

    # when
    rows = re.findall(r"^\| (`[^|]+) \|", page("adding-a-consumer.md"), flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}

    # then
    assert taken <= told


def test_pages_are_in_the_index() -> None:
    """Every page can be found from the first one."""
    for other in PAGES.glob("*.md"):
        assert other.name == "index.md" or f"]({other.name})" in page("index.md")


def test_files_of_the_architecture_exist() -> None:
    """Files that the architecture names are there."""
    # given
    home = REPOSITORY / "src" / "limner" / "systems" / "antenna"

    # when
    named = re.findall(r"`([a-z_*0-9]+\.py)`", page("architecture.md"))

    # then
    assert len(named) > 15
    assert [name for name in named if not list(home.glob(name))] == []
