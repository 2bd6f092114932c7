"""Several threads and processes over one store file."""

import subprocess
import sys
import threading

from limner.domain.records import RecordIn
from limner.store.connect import connect_store

READER = """
import sys
from limner.store.connect import connect_store
with connect_store(sys.argv[1]).reading() as tx:
    print(tx.records.count(tx.records.find_collection("c")))
"""


def given(*names: str) -> list[RecordIn]:
    """Records of the collection ``c``."""
    return [RecordIn(collection="c", id=name, fields={}) for name in names]


def test_reader_sees_one_moment_while_a_writer_goes_on(store_file: str) -> None:
    """A reading transaction is neither blocked by a writer nor shown half of what it does."""
    store = connect_store(store_file)
    with store.transaction() as tx:
        tx.records.take_in(given("a"))
        collection = tx.records.collection("c")

    with store.reading() as before:
        seen = [before.records.count(collection)]
        with store.transaction() as tx:
            tx.records.take_in(given("b"))
            with store.reading() as during:
                seen.append(during.records.count(collection))
        seen.append(before.records.count(collection))
    with store.reading() as after:
        seen.append(after.records.count(collection))

    assert seen == [1, 1, 1, 2]
    store.close()


def test_another_process_reads_while_this_one_writes(store_file: str) -> None:
    """A second process sees what was committed, during a transaction of the first."""
    store = connect_store(store_file)
    with store.transaction() as tx:
        tx.records.take_in(given("a"))

    with store.transaction() as tx:
        tx.records.take_in(given("b"))
        ran = subprocess.run(
            [sys.executable, "-c", READER, store_file], capture_output=True, text=True, timeout=30, check=False
        )

    assert (ran.stdout.strip(), ran.stderr) == ("1", "")
    store.close()


def test_keys_are_never_given_twice(store_file: str) -> None:
    """Writers in several threads wait for each other and never share a key."""
    store = connect_store(store_file)
    found: list[list[int]] = []

    def take(name: str) -> None:
        for number in range(10):
            with store.transaction() as tx:
                found.append(tx.records.take_in(given(*(f"{name}{number}-{n}" for n in range(5)))).keys)

    threads = [threading.Thread(target=take, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    keys = [key for page in found for key in page]
    assert (len(keys), len(set(keys))) == (200, 200)
    store.close()


def test_ranges_of_keys_follow_each_other(store_file: str) -> None:
    """Each allocation begins where the one before it ended, and an empty one takes nothing."""
    store = connect_store(store_file)
    with store.transaction() as tx:
        first = tx.records.allocate("records", 3)
        second = tx.records.allocate("records", 1)
        nothing = tx.records.allocate("records", 0)

    with store.transaction() as tx:
        third = tx.records.allocate("records", 1)

    assert (second - first, third - second, nothing) == (3, 1, 0)
    store.close()
