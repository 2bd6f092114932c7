"""What every prediction table must do; subclass it and give it a fixture `table`."""

import math
from collections.abc import Sequence

import pytest

from limner.clock import MovedClock
from limner.domain.failures import FailureCode
from limner.errors import UsageError
from limner.systems.ersilia.columns import Cell, Column, ColumnType
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release
from limner.systems.ersilia.predictions.base import PredictionTable, Written

WEIGHT = Column(name="weight", type=ColumnType.FLOAT, direction="", description="Molecular weight")
RINGS = Column(name="rings", type=ColumnType.INTEGER)
CLASS = Column(name="class", type=ColumnType.STRING)
#: Floats that a careless way through text or single precision would change.
AWKWARD = (283.239, 0.1 + 0.2, 1e-7, 1.7976931348623157e100, 5e-100, -1 / 3, 123456789012345.67, 2.0)


def release_of(
    model: str = "eos3b5e", *, release: str = "v1.0.0", columns: Sequence[Column] = (WEIGHT,), python: str = "3.11"
) -> Release:
    """A release of a model."""
    return Release(
        model=model, release=release, package="ab" * 32, environment={"python": python}, columns=tuple(columns)
    )


def key_of(number: int) -> str:
    """A key of the scheme inchikey that no other number has."""
    letters = ""
    for _ in range(14):
        number, place = divmod(number, 26)
        letters = chr(65 + place) + letters
    return f"{letters}-UHFFFAOYSA-N"


def prediction_of(number: int, *values: Cell, job: str = "job-1") -> Prediction:
    """A prediction for the molecule with *number*."""
    return Prediction(
        key=key_of(number),
        smiles="C" * (number % 50 + 1),
        values=values or (float(number),),
        record=f"{number:032x}",
        job=job,
    )


def failure_of(number: int) -> Prediction:
    """A prediction that there is none for the molecule with *number*."""
    failed = Failed(code=FailureCode.OUTPUT_INVALID, reason="no_output", message="no_output: the model said nothing.")
    return Prediction(key=key_of(number), smiles="CC", failed=failed, record="r", job="job-1")


class PredictionTableContract:
    """Tests that run over every table; *table* is empty at the start of each and tells the time by *clock*."""

    #: Whether it keeps the versions of a model side by side, or the last one that was written.
    keeps_versions = True
    #: How many keys are many.
    many = 2500

    @pytest.fixture
    def clock(self) -> MovedClock:
        """The clock of the table."""
        return MovedClock()

    @pytest.fixture
    def table(self, clock: MovedClock) -> PredictionTable:
        """The table to test, empty."""
        raise NotImplementedError("abstract: a subclass gives the fixture `table`")

    @pytest.fixture
    def ready(self, table: PredictionTable) -> PredictionTable:
        """The table, with the plain release begun."""
        table.begin(release_of(), scheme=KeyScheme.INCHIKEY)
        return table

    def test_predictions_come_back(self, ready: PredictionTable) -> None:
        """What was written is read by its key, with all that was told of it."""
        first, second = prediction_of(1, 283.239), prediction_of(2, 18.015)

        written = ready.write(release_of(), [first, second])

        assert written == Written(new=2)
        assert ready.read("eos3b5e", release_of().version, [first.key, second.key]) == {
            first.key: first,
            second.key: second,
        }

    def test_floats_come_back_bit_for_bit(self, ready: PredictionTable) -> None:
        """A stored number is the number that was given, and it is a float."""
        ready.write(release_of(), [prediction_of(n, value) for n, value in enumerate(AWKWARD)])

        found = ready.read("eos3b5e", release_of().version, [key_of(n) for n in range(len(AWKWARD))])

        values = [found[key_of(n)].values for n in range(len(AWKWARD))]
        assert [value and (type(value[0]), value[0]) for value in values] == [(float, value) for value in AWKWARD]

    def test_every_kind_of_cell_comes_back(self, table: PredictionTable) -> None:
        """Numbers, whole numbers, text and "no value" stay what they are, in the order of the columns."""
        release = release_of(columns=(WEIGHT, RINGS, CLASS, WEIGHT))
        table.begin(release, scheme=KeyScheme.INCHIKEY)

        table.write(release, [prediction_of(1, 1.5, 3, 'ünlikely, "soluble"', None)])

        found = table.read("eos3b5e", release.version, [key_of(1)])[key_of(1)].values
        assert found == (1.5, 3, 'ünlikely, "soluble"', None)
        assert found is not None
        assert [type(cell) for cell in found] == [float, int, str, type(None)]

    def test_wide_predictions_come_back(self, table: PredictionTable) -> None:
        """A model may have thousands of columns."""
        columns = [Column(name=f"bit-{n:04}", type=ColumnType.INTEGER) for n in range(2048)]
        release = release_of("eos5axz", columns=columns)
        table.begin(release, scheme=KeyScheme.INCHIKEY)
        rows = [prediction_of(n, *((n * place) % 7 for place in range(2048))) for n in range(5)]

        table.write(release, rows)

        found = table.read("eos5axz", release.version, [row.key for row in rows])
        assert found == {row.key: row for row in rows}

    def test_failures_are_kept_and_not_counted(self, ready: PredictionTable) -> None:
        """That a molecule failed is known by its key; the count is of values."""
        failure = failure_of(2)

        ready.write(release_of(), [prediction_of(1), failure])

        assert ready.read("eos3b5e", release_of().version, [failure.key]) == {failure.key: failure}
        assert ready.count("eos3b5e", release_of().version) == 1

    def test_unknown_keys_are_absent(self, ready: PredictionTable) -> None:
        """What is not there is left out, whatever stands in the request: keys are never read as SQL."""
        ready.write(release_of(), [prediction_of(1)])
        strange = ["'; drop table predictions; --", "", "\0", "ключ", "\ud800", "x" * 5000, key_of(1).lower()]

        found = ready.read("eos3b5e", release_of().version, [*strange, key_of(1), key_of(99)])

        assert list(found) == [key_of(1)]
        for model, version in (("eos3b5e", "v9"), ("'; drop table predictions; --", "\0"), ("", "")):
            assert ready.read(model, version, [key_of(1)]) == {}
            assert ready.count(model, version) == 0
        assert ready.read("eos3b5e", release_of().version, []) == {}

    def test_many_keys_and_repeats_are_read_at_once(self, ready: PredictionTable) -> None:
        """A request may name any number of keys, some of them again and again."""
        ready.write(release_of(), [prediction_of(n) for n in range(self.many)])
        asked = [key_of(n) for n in range(self.many + 100)] * 2

        found = ready.read("eos3b5e", release_of().version, asked)

        assert sorted(found) == sorted(key_of(n) for n in range(self.many))

    def test_writing_again_adds_nothing(self, ready: PredictionTable) -> None:
        """The same predictions, published by another job, leave all as it is."""
        ready.write(release_of(), [prediction_of(n) for n in range(40)])

        again = ready.write(release_of(), [prediction_of(n, job="job-2") for n in range(40)])

        assert again == Written(same=40)
        assert ready.count("eos3b5e", release_of().version) == 40
        assert ready.read("eos3b5e", release_of().version, [key_of(7)])[key_of(7)].job == "job-1"

    def test_what_changed_is_replaced(self, ready: PredictionTable) -> None:
        """Another value takes the place of the old one, a value that of a failure and a failure that of a value."""
        ready.write(release_of(), [prediction_of(1), prediction_of(2), prediction_of(3), failure_of(4)])
        after = [prediction_of(1), prediction_of(2, 0.5, job="job-2"), failure_of(3), prediction_of(4)]

        written = ready.write(release_of(), [*after, prediction_of(5)])

        assert written == Written(new=1, changed=3, same=1)
        found = ready.read("eos3b5e", release_of().version, [key_of(n) for n in range(1, 5)])
        assert [found[prediction.key] for prediction in after] == after
        assert ready.count("eos3b5e", release_of().version) == 4

    def test_of_a_repeated_key_the_first_wins(self, ready: PredictionTable) -> None:
        """A key that stands twice in one write is written once."""
        written = ready.write(release_of(), [prediction_of(1, 1.0), prediction_of(2), prediction_of(1, 9.0)])

        assert written == Written(new=2)
        assert ready.read("eos3b5e", release_of().version, [key_of(1)])[key_of(1)].values == (1.0,)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**40])
    def test_numbers_that_are_none_are_refused(self, ready: PredictionTable, value: Cell) -> None:
        """NaN, infinities and numbers beyond all bounds never get in; their neighbours do."""
        written = ready.write(release_of(), [prediction_of(1), prediction_of(2, value), prediction_of(3)])

        assert (written.new, list(written.refused)) == (2, [key_of(2)])
        why = written.refused[key_of(2)]
        assert (why.code, why.reason) == (FailureCode.OUTPUT_INVALID, "not_representable")
        assert "weight" in why.message
        assert sorted(ready.read("eos3b5e", release_of().version, [key_of(n) for n in range(5)])) == [
            key_of(1),
            key_of(3),
        ]

    def test_a_bad_key_costs_itself(self, ready: PredictionTable) -> None:
        """A key that is not of the table's scheme is refused; its neighbours are written."""
        bad = Prediction(key="f" * 32, smiles="C", values=(1.0,))

        written = ready.write(release_of(), [prediction_of(1), bad, prediction_of(2)])

        assert (written.new, [why.reason for why in written.refused.values()]) == (2, ["bad_key"])
        assert ready.read("eos3b5e", release_of().version, [bad.key]) == {}

    def test_a_row_of_another_length_costs_itself(self, ready: PredictionTable) -> None:
        """A row has a value for each column, or is refused."""
        written = ready.write(release_of(), [prediction_of(1, 1.0, 2.0), prediction_of(2)])

        assert (written.new, [why.reason for why in written.refused.values()]) == (1, ["bad_columns"])

    def test_an_empty_table_has_no_scheme(self, table: PredictionTable) -> None:
        """The first version that is begun gives the table its scheme."""
        assert table.scheme() is None
        assert table.shelves() == []

        table.begin(release_of(), scheme=KeyScheme.MD5)

        assert table.scheme() is KeyScheme.MD5

    def test_another_scheme_is_refused(self, ready: PredictionTable) -> None:
        """A table holds keys of one scheme, whichever model they are for."""
        with pytest.raises(UsageError, match="by inchikey"):
            ready.begin(release_of("eos5axz"), scheme=KeyScheme.MD5)

        assert ready.scheme() is KeyScheme.INCHIKEY
        assert [shelf.release.model for shelf in ready.shelves()] == ["eos3b5e"]

    def test_what_was_not_begun_is_not_written(self, table: PredictionTable) -> None:
        """A version is begun before its predictions are written."""
        with pytest.raises(UsageError, match="eos3b5e"):
            table.write(release_of(), [prediction_of(1)])
        with pytest.raises(UsageError, match="eos3b5e"):
            table.complete(release_of())

    def test_shelves_tell_what_is_complete_and_since_when(self, table: PredictionTable, clock: MovedClock) -> None:
        """A version is complete once its job said so, and incomplete again while another goes on."""
        release = release_of()
        table.begin(release, scheme=KeyScheme.INCHIKEY)
        (begun,) = table.shelves()
        table.write(release, [prediction_of(1)])
        table.complete(release)
        (done,) = table.shelves()
        table.begin(release, scheme=KeyScheme.INCHIKEY)
        (again,) = table.shelves()

        assert (begun.release, begun.complete, begun.updated) == (release, False, 0)
        assert (done.complete, done.updated) == (True, clock.now())
        assert (again.complete, again.updated) == (False, clock.now())
        assert table.count("eos3b5e", release.version) == 1

    def test_shelves_stand_in_the_order_in_which_they_were_begun(self, table: PredictionTable) -> None:
        """All models' versions, or those of one model."""
        begun = [release_of("eos9zzz"), release_of("eos1aaa"), release_of("eos9zzz", release="v2.0.0")]
        for release in begun:
            table.begin(release, scheme=KeyScheme.INCHIKEY)

        assert [shelf.release for shelf in table.shelves()] == begun
        assert [shelf.release.release for shelf in table.shelves("eos9zzz")] == ["v1.0.0", "v2.0.0"]
        assert table.shelves("eos0000") == []

    def test_models_do_not_see_each_other(self, table: PredictionTable) -> None:
        """The same key has a prediction for each model."""
        one, other = release_of("eos3b5e"), release_of("eos8a4x")
        for release, value in ((one, 1.0), (other, 2.0)):
            table.begin(release, scheme=KeyScheme.INCHIKEY)
            table.write(release, [prediction_of(1, value)])

        assert table.read("eos3b5e", one.version, [key_of(1)])[key_of(1)].values == (1.0,)
        assert table.read("eos8a4x", other.version, [key_of(1)])[key_of(1)].values == (2.0,)

    def test_versions_are_never_mixed(self, table: PredictionTable) -> None:
        """A version answers from itself alone; where versions lie side by side, the older one still answers."""
        old, new = release_of(python="3.11"), release_of(python="3.12")
        assert old.version != new.version
        table.begin(old, scheme=KeyScheme.INCHIKEY)
        table.write(old, [prediction_of(1, 1.0), prediction_of(2, 1.0)])
        table.begin(new, scheme=KeyScheme.INCHIKEY)
        table.write(new, [prediction_of(1, 2.0)])

        after = {
            release.environment["python"]: {
                key: found.values
                for key, found in table.read("eos3b5e", release.version, [key_of(1), key_of(2)]).items()
            }
            for release in (old, new)
        }

        kept = {key_of(1): (1.0,)} if self.keeps_versions else {}
        assert after == {"3.11": {**kept, key_of(2): (1.0,)}, "3.12": {key_of(1): (2.0,)}}
        assert table.count("eos3b5e", old.version) == (2 if self.keeps_versions else 1)
        assert table.count("eos3b5e", new.version) == 1

    def test_other_facts_are_carried_along(self, ready: PredictionTable) -> None:
        """A prediction may say more of itself."""
        told = Prediction(key=key_of(1), smiles="C", values=(1.0,), detail={"task": "17", "worker": "w"})

        ready.write(release_of(), [told])

        assert ready.read("eos3b5e", release_of().version, [key_of(1)]) == {key_of(1): told}
