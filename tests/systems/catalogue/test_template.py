"""The project that `limner init --from catalogue` makes stays in step with the system."""

from pathlib import Path

from msgspec import structs

from limner.app.declared import pipelines_of
from limner.domain.pipelines import Stage
from limner.systems.catalogue import system
from tests.systems.catalogue.projects import from_template


def way_of(stage: Stage) -> object:
    """How a stage is done where nobody chooses."""
    return stage.chosen(stage.default)


def test_stages_are_the_systems(tmp_path: Path) -> None:
    """The template declares each stage as the system does, to the last limit, and only its default way to do it."""
    # given
    (mine,) = pipelines_of(from_template(tmp_path / "cat").folder / "pipeline.py")

    # when
    (theirs,) = system.pipelines

    # then
    assert structs.replace(mine, stages=theirs.stages, index=theirs.index, about=theirs.about) == theirs
    assert [stage.name for stage in mine.stages] == [stage.name for stage in theirs.stages]
    for stage, model in zip(mine.stages, theirs.stages, strict=True):
        assert list(stage.implementations) == ["default"]
        assert way_of(stage) == way_of(model)
        assert structs.replace(stage, implementations=model.implementations, default=model.default) == model


def test_what_is_searched_is_searched_by_the_system(tmp_path: Path) -> None:
    """Words, filters and encoders of the template are the system's, as many of them as most projects need."""
    # given
    (mine,) = pipelines_of(from_template(tmp_path / "cat").folder / "pipeline.py")

    # when
    (theirs,) = system.pipelines

    # then
    assert mine.index.vectors == theirs.index.vectors
    assert mine.index.text.items() <= theirs.index.text.items()
    assert set(mine.index.filters) < set(theirs.index.filters)
    assert list(mine.index.encoders) == ["colour"]
    assert mine.index.encoders["colour"] == theirs.index.encoders["colour"]
