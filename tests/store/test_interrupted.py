"""Ctrl-C in the middle of a statement."""

import sqlite3
import sys
from types import FrameType

import pytest

from limner.domain.records import RecordIn
from limner.store.connect import connect_store


def _raise_in_a_query(_: FrameType, event: str, called: object) -> None:
    if event == "c_return" and isinstance(getattr(called, "__self__", None), sqlite3.Cursor):
        sys.setprofile(None)
        raise KeyboardInterrupt


@pytest.mark.timeout(30)
def test_an_interrupted_transaction_lets_go_of_the_lock_at_once(store_file: str) -> None:
    """While the interrupt is on its way, with an unread answer in its traceback, the next transaction can write."""
    # given
    store = connect_store(store_file)
    with store.transaction() as tx:
        keys = tx.records.take_in([RecordIn(collection="c", id=name, fields={}) for name in "abc"]).keys

    # when
    try:
        with store.transaction() as tx:
            tx.records.retire(keys[:1])
            sys.setprofile(_raise_in_a_query)
            tx.records.load(keys)
        raise AssertionError("Nothing was interrupted.")
    except KeyboardInterrupt:
        # then
        with store.transaction() as tx:
            assert tx.records.count(tx.records.collection("c")) == 3
    finally:
        sys.setprofile(None)
        store.close()
