"""Letters of workers that reach a broker alone: files that wait for their store hold up nothing else."""

import hashlib
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from limner.app.work_mail import Mail
from limner.bus.letters import WORKERS, Letter, Reply, encode, reply_of
from limner.bus.mail_client import MailClient
from limner.errors import ServerRefused, ServerUnavailable
from tests.app.hosts import ask, at_work, taken, things
from tests.cluster.hardware import Impossible, SmallDisk
from tests.conftest import IN_CI
from tests.waiting import LONG, until
from tools.services import ObjectStore

BYTES = b"a file that was inferred"
SHA256 = hashlib.sha256(BYTES).hexdigest()


def test_files_that_wait_for_an_object_store_hold_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away a worker is answered all the same; what was handed in is stored when it is back."""
    for name, value in ObjectStore.environment().items():
        monkeypatch.setenv(name, value)
    (tmp_path / "s3").mkdir()
    (tmp_path / "file").write_bytes(BYTES)
    store = ObjectStore(tmp_path / "s3")
    store.start()
    stopping = threading.Event()
    try:
        with at_work(tmp_path / "project", settings=f'artifacts = "{store.url}"\n') as projects:
            host = projects.host("default")
            threading.Thread(target=Mail(host, stopping=stopping).run, daemon=True).start()
            with closing(MailClient(host.app.bus, worker="w", shown="here")) as client:
                # given a file that is handed in while the object store is away
                client.ask("work/implementations", type=msgspec.Raw)
                store.kill()
                handing = threading.Thread(target=client.upload, args=(SHA256, tmp_path / "file"), daemon=True)
                handing.start()
                parts = tmp_path / "project" / ".limner" / "handed-in"
                until(lambda: any(parts.iterdir()))

                # when the worker says that it lives, then it is answered
                with pytest.raises(ServerRefused, match="No worker w is known here"):
                    client.tell("workers:heartbeat", {"worker_id": "w"}, type=msgspec.Raw)
                assert handing.is_alive()

                # when the store is back, then the file is there
                store.start()
                handing.join(60)
                assert client.exists(SHA256)
    finally:
        stopping.set()
        store.kill()


def test_a_file_that_has_no_room_is_handed_in_again(tmp_path: Path) -> None:
    """A full disk is no refusal: the worker is told to ask again, and is heard once there is room."""
    try:
        disk = SmallDisk(tmp_path / "disk", megabytes=1)
    except Impossible as error:
        (pytest.fail if IN_CI else pytest.skip)(str(error))
    (tmp_path / "file").write_bytes(BYTES)
    stopping = threading.Event()
    try:
        with at_work(tmp_path / "project", settings=f'artifacts = "{tmp_path}/disk/artifacts"\n') as projects:
            host = projects.host("default")
            threading.Thread(target=Mail(host, stopping=stopping).run, daemon=True).start()
            with closing(MailClient(host.app.bus, worker="w", shown="here")) as client:
                client.ask("work/implementations", type=msgspec.Raw)
                disk.fill()

                with pytest.raises(ServerUnavailable, match="There is no room"):
                    client.upload(SHA256, tmp_path / "file")

                disk.free()
                client.upload(SHA256, tmp_path / "file")
                assert client.exists(SHA256)
    finally:
        stopping.set()
        disk.close()


def test_all_who_say_what_they_hold_are_answered_together(tmp_path: Path) -> None:
    """Each hears of his own tasks: the lease of one moved, one that nobody waits for, one that cannot be understood."""
    stopping = threading.Event()
    with at_work(tmp_path / "project", task_size=1) as projects:
        # given two tasks on the bus, one of a job that was cancelled since
        host = projects.host("default")
        kept, gone = host.submit(ask(things(1))), host.submit(ask(things(1, first=1)))
        mine, theirs = taken(host), taken(host)
        host.cancel(gone.id)
        told = {"w1": [mine[0].id], "w2": [theirs[0].id, 10**9]}
        said = [
            Letter(
                id=worker,
                worker=worker,
                reply="replies/all",
                path="tasks:extend",
                body=msgspec.json.encode({"worker_id": worker, "tasks": tasks}),
            )
            for worker, tasks in told.items()
        ]
        said.append(Letter(id="odd", worker="odd", reply="replies/all", path="tasks:extend", body=b"nonsense"))
        host.app.bus.publish(WORKERS, [encode(letter) for letter in said])

        # when they are read
        threading.Thread(target=Mail(host, stopping=stopping).run, daemon=True).start()
        heard = dict[str, Reply]()
        while len(heard) < 3:
            found = host.app.bus.take(["replies/all"], limit=9, wait=LONG)
            assert found
            heard |= {reply.id: reply for reply in (reply_of(one.body) for one in found)}
        stopping.set()

        # then each is answered for himself, and the first task is the first worker's
        assert (heard["w1"].body, heard["w2"].body) == (
            b'{"cancelled":[]}',
            msgspec.json.encode({"cancelled": [theirs[0].id]}),
        )
        assert (heard["odd"].status, heard["w1"].status) == (422, 200)
        with host.store.reading() as tx:
            assert [(task.pk, task.worker) for task in tx.tasks.open_of(job=kept.id)] == [(mine[0].id, "w1")]
