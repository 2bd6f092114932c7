"""The ledger, beside a dictionary that does the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from limner.domain.jobs import Counts, Fate
from limner.domain.packing import pack, unpack
from limner.store import ledger as room
from limner.store.connect import connect_store

KEYS = st.integers(1, 40)
FATES = st.sampled_from(list(Fate))
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.dictionaries(KEYS, FATES, max_size=12)),
        st.tuples(st.just("settle"), st.dictionaries(KEYS, FATES, max_size=12)),
        st.tuples(st.just("settle_open"), st.dictionaries(KEYS, FATES, max_size=12)),
    ),
    max_size=12,
)


@settings(max_examples=30)
@given(MOVES)
def test_ledger_is_a_dictionary(moves: list[tuple[str, dict[int, Fate]]]) -> None:
    """Whatever is entered and settled, fates, pages and counts are those of a dictionary."""
    store, part = connect_store("sqlite://"), room.PART
    expected: dict[int, Fate] = {}
    room.PART = 4
    try:
        with store.transaction() as tx:
            tx.ledger.enter("other", dict.fromkeys(range(1, 50), Fate.OPEN))
            for move, fates in moves:
                if move == "enter":
                    new = {key: fate for key, fate in fates.items() if key not in expected}
                    tx.ledger.enter("job", new)
                    expected |= new
                    continue
                only_open = move == "settle_open"
                held = {key: fate for key, fate in fates.items() if key in expected}
                if only_open:
                    held = {key: fate for key, fate in held.items() if expected[key] is Fate.OPEN}
                tx.ledger.settle("job", fates, only_open=only_open)
                expected |= held

            assert tx.ledger.fates("job", range(0, 50)) == expected
            assert {k: f for page in tx.ledger.pages("job") for k, f in page.items()} == expected
            fates_now = list(expected.values())
            assert tx.ledger.counts("job") == Counts(
                records=len(expected), **{fate.name.lower(): fates_now.count(fate) for fate in Fate}
            )
            opened = {k for page in tx.ledger.pages("job", having=Fate.OPEN) for k, f in page.items() if f is Fate.OPEN}
            assert opened == {key for key, fate in expected.items() if fate is Fate.OPEN}
            tx.ledger.copy("job", to="copy")
            assert tx.ledger.counts("copy") == tx.ledger.counts("job")
            assert tx.ledger.counts("other").open == 49
    finally:
        room.PART = part
        store.close()


def test_growing_ledger_fills_its_last_part() -> None:
    """Records that come in one by one share parts instead of having a row each."""
    store = connect_store("sqlite://")
    with store.transaction() as tx:
        for key in range(1, 101):
            tx.ledger.enter("job", {key: Fate.OPEN})

        assert len(list(tx.ledger.pages("job"))) == 1


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_packed_keys_come_back(keys: list[int]) -> None:
    """A list of keys is eight bytes each."""
    assert list(unpack(pack(keys))) == keys
    assert len(pack(keys)) == 8 * len(keys)
