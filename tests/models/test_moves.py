"""Aliases move on by the gate or by force, and back along the way that they came."""

from datetime import timedelta
from pathlib import Path

import pytest

from limner.artifacts.folder import FolderArtifacts
from limner.clock import MovedClock
from limner.errors import ModelRefused, NotFound, UsageError
from limner.models.registry import Registry
from limner.store.models import MoveKind
from tests.models.cases import array_file


@pytest.fixture
def four(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with four versions of codes, the first of which is champion."""
    for number in range(1, 5):
        registry.add("codes", array_file(tmp_path / f"{number}.npz", value=number))
    return registry


def _champion(registry: Registry) -> int:
    return registry.find("codes@champion").number


def test_a_promotion_moves_the_alias_and_is_remembered(four: Registry, clock: MovedClock) -> None:
    """The history says from where, to where, when and by whom."""
    clock.move(timedelta(hours=1))

    four.promote("codes@2", by="maria")

    move = four.show("codes@2").moves[-1]
    assert _champion(four) == 2
    assert (move.alias, move.old, move.new, move.at, move.by) == ("champion", 1, 2, clock.now(), "maria")
    assert (move.kind, list(move.reasons)) == (MoveKind.PROMOTED, [])


def test_what_the_gate_refuses_is_not_promoted(four: Registry) -> None:
    """The sentence gives the reasons with their figures, and nothing moves."""
    reasons = ["recall@10 is 0.412, below 0.900", "a group uses only 12% of its centres"]

    with pytest.raises(ModelRefused, match=r"codes@2 .* 0\.412, below 0\.900; a group uses only 12% .*--force"):
        four.promote("codes@2", gate_reasons=reasons, by="maria")

    assert _champion(four) == 1
    assert len(four.show("codes@1").moves) == 1


def test_force_is_recorded_with_who_and_why(four: Registry) -> None:
    """A forced move keeps the reasons against which it was made."""
    four.promote("codes@2", gate_reasons=["recall@10 is 0.412", "too few"], force=True, by="maria")

    move = four.show("codes@2").moves[-1]
    assert _champion(four) == 2
    assert (move.by, list(move.reasons)) == ("maria", ["recall@10 is 0.412", "too few"])


def test_promoting_what_stands_there_moves_nothing(four: Registry) -> None:
    """Asking twice is safe, and a roll-back then does not stand still."""
    four.promote("codes@2", by="maria")
    four.promote("codes@2", by="maria")

    four.rollback("codes", by="maria")

    assert _champion(four) == 1


def test_a_second_roll_back_goes_further_back(four: Registry) -> None:
    """Back is never forth again; before the first version there is nothing, and the sentence says so."""
    four.promote("codes@2", by="maria")
    four.promote("codes@3", by="maria")

    seen = [four.rollback("codes", by="maria").number, four.rollback("codes", by="maria").number]

    assert seen == [2, 1]
    assert _champion(four) == 1
    with pytest.raises(UsageError, match="before the champion, which stands at codes@1"):
        four.rollback("codes", by="maria")
    assert [m.kind for m in four.show("codes@2").moves] == [
        MoveKind.PROMOTED,
        MoveKind.PROMOTED,
        MoveKind.ROLLED_BACK,
        MoveKind.ROLLED_BACK,
    ]


def test_a_promotion_after_a_roll_back_goes_on_from_there(four: Registry) -> None:
    """What was rolled back over is not returned to."""
    four.promote("codes@2", by="maria")
    four.promote("codes@3", by="maria")
    four.rollback("codes", by="maria")
    four.promote("codes@4", by="maria")

    seen = [four.rollback("codes", by="maria").number, four.rollback("codes", by="maria").number]

    assert seen == [2, 1]


def test_going_back_by_promotion_is_a_step_on(four: Registry) -> None:
    """A version that is promoted again by name has as its predecessor the one that it replaced."""
    four.promote("codes@2", by="maria")
    four.promote("codes@1", by="maria")

    assert four.rollback("codes", by="maria").number == 2


def test_each_alias_has_a_way_of_its_own(four: Registry) -> None:
    """Moving the challenger touches neither the champion nor its history."""
    four.promote("codes@2", "challenger", by="maria")
    four.promote("codes@3", "challenger", by="maria")

    back = four.rollback("codes", "challenger", by="maria")

    assert back.number == 2
    assert _champion(four) == 1
    with pytest.raises(UsageError, match="no version of codes before the shadow, which stands for none"):
        four.rollback("codes", "shadow", by="maria")


@pytest.mark.parametrize("alias", ["", "1", "Champion", "a@b"])
def test_an_alias_is_never_taken_for_a_number(alias: str, four: Registry) -> None:
    """References read digits as numbers."""
    with pytest.raises(UsageError, match="no alias"):
        four.promote("codes@2", alias, by="maria")


def test_no_force_promotes_a_damaged_file(four: Registry, artifacts: FolderArtifacts) -> None:
    """A file that workers would refuse stops its stage, so neither promotion nor roll-back leads to it."""
    second = four.promote("codes@2", by="maria")
    four.promote("codes@3", by="maria")
    artifacts.delete(second.sha256)

    with pytest.raises(ModelRefused, match="no artifact"):
        four.promote("codes@2", force=True, by="maria")
    with pytest.raises(ModelRefused, match="no artifact"):
        four.rollback("codes", by="maria")

    assert _champion(four) == 3


def test_an_unknown_model_has_no_aliases(four: Registry) -> None:
    """A misspelt name is answered with the known ones."""
    with pytest.raises(NotFound, match="no model cods; there is: codes"):
        four.rollback("cods", by="maria")
    with pytest.raises(NotFound, match="no codes@9"):
        four.promote("codes@9", by="maria")
