"""What the system brings is there when it is asked for, and costs nothing before."""

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from limner.app.declared import Declared
from limner.domain.systems import System
from limner.errors import ConfigurationError
from limner.settings import load_project
from limner.systems.ersilia.pipeline import IDENTIFY, PREDICT, molecules_pipeline
from limner.systems.ersilia.system import system
from tests.systems.ersilia.made_packages import made

#: What no command loads that does not need it.
HEAVY = ("rdkit", "polars", "pandera", "boto3", "pyarrow", "fastapi", "pydantic", "yaml")


def declared(folder: Path, *systems: System) -> Declared:
    """What a project declares where just these systems are installed."""
    found = Declared(load_project(folder))
    found.systems = {one.name: one for one in systems}
    return found


def test_neither_the_system_nor_its_verb_loads_anything_heavy() -> None:
    """Every command imports the system, and help shows its verb: neither brings a library of its trade along."""
    asked = f"""
import sys
import limner.systems.ersilia.system, limner.systems.ersilia.precalc.verb
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_its_pipeline_is_made_when_it_is_asked_for(tmp_path: Path) -> None:
    """The name is known at once; the pipeline has a way for each package, and the same object answers again."""
    found = declared(tmp_path, system)
    assert "molecules" in found.pipelines
    assert found.pipeline("molecules") is found.pipelines["molecules"]
    assert "eos3b5e" in found.pipeline("molecules").stage(PREDICT).implementations
    assert found.pipeline("molecules").stage(IDENTIFY).light


def test_without_what_it_needs_it_is_not_offered(tmp_path: Path) -> None:
    """Where the extra is not installed, other commands work as if the system brought no pipeline."""
    found = declared(tmp_path, structs.replace(system, needs=("rdkit", "a_module_that_nobody_has")))
    assert "molecules" not in found.pipelines
    assert len(found.pipelines) == 0


def test_a_maker_that_makes_no_pipeline_is_named(tmp_path: Path) -> None:
    """A system that promises a pipeline and brings something else is told by its target."""
    found = declared(tmp_path, System(name="odd", about="", makers={"odd": "pathlib:Path"}))
    with pytest.raises(ConfigurationError, match="pathlib:Path makes no Pipeline"):
        found.pipelines["odd"]


def test_a_new_package_needs_no_edit_of_the_pipeline(tmp_path: Path) -> None:
    """A folder of packages is all that is named: each is an implementation, with its own batch and limit."""
    made(tmp_path, "eos0one", seconds=(1, 1, 1, -1, -1))
    made(tmp_path, "eos0two", seconds=(1, 1, 1, 10, 1000))
    stage = molecules_pipeline(tmp_path).stage(PREDICT)
    assert (stage.batch_of("eos0one"), stage.batch_of("eos0two")) == (100, 10_000)
    assert stage.timeout_of("eos0two") > stage.timeout_of("eos0one")


def test_packages_of_a_project_are_found_without_a_pipeline_file(tmp_path: Path) -> None:
    """What lies in the folder `packages` of a project is offered to every command."""
    made(tmp_path / "packages", "eos0own")
    assert "eos0own" in declared(tmp_path, system).pipeline("molecules").stage(PREDICT).implementations
