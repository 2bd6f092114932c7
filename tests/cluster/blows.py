"""What is done to a cluster at work: each blow falls, and what it takes away is there again when it returns."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from limner.errors import StoreUnavailable
from tests.cluster.cluster import BEHIND_THE_LINK, LONG, Cluster
from tests.waiting import until

#: A blow is given the dice, and the seconds for which things stay away.
Blow = Callable[[Cluster, random.Random, float], None]
#: Seconds by which a clock is set wrong.
_WRONG = 3600
#: Tasks that come twice.
_TWICE = 24
#: Of the pause, a link is cut for so much: 20 s of 30.
_LINK = 2 / 3


def kill_worker(cluster: Cluster, dice: random.Random, _pause: float) -> None:
    """A worker is killed, and another one comes."""
    cluster.replace_worker(cluster.any_worker(dice))


def freeze_worker(cluster: Cluster, dice: random.Random, pause: float) -> None:
    """A worker stands still for longer than its lease, and goes on with what others have done by then."""
    worker = cluster.workers[cluster.any_worker(dice)]
    os.killpg(worker.process.pid, signal.SIGSTOP)
    time.sleep(pause)
    os.killpg(worker.process.pid, signal.SIGCONT)


def kill_leader(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """The server that leads is killed; the other one goes on before it is there again."""
    server = cluster.servers[cluster.leader()]
    server.kill()
    cluster.goes_on()
    server.start()


def kill_standby(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """The server that stands by is killed, and starts again."""
    server = cluster.servers[1 - cluster.leader()]
    server.kill()
    server.start()


def kill_servers(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """All servers are killed, and start again."""
    for server in cluster.servers:
        server.kill()
    for server in cluster.servers:
        server.start()


def kill_in_every_order(cluster: Cluster, dice: random.Random, _pause: float) -> None:
    """Who leads, who stands by and a worker are killed one after the other, and start so: in each of the six orders."""
    orders = list(itertools.permutations(("leader", "standby", "worker")))
    dice.shuffle(orders)
    for order in orders:
        leads, place = cluster.leader(), cluster.any_worker(dice)
        servers = {"leader": cluster.servers[leads], "standby": cluster.servers[1 - leads]}
        for who in order:
            (servers.get(who) or cluster.workers[place]).kill()
        for who in order:
            if who in servers:
                servers[who].start()
            else:
                cluster.workers[place] = cluster.new_worker(place)
        cluster.goes_on()


def purge_queues(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """Everything that is on the bus is lost."""
    cluster.places.bus.purge()


def repeat_messages(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """Tasks come twice."""
    kept = cluster.places.bus.keep_aside()
    cluster.places.bus.deliver(kept)
    cluster.places.bus.deliver(kept[:_TWICE])


def deliver_late(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """Tasks are kept aside until each of them has ended, or was given up for another one; then they are delivered."""
    kept = cluster.places.bus.keep_aside()

    def gone() -> bool:
        with suppress(StoreUnavailable):
            return cluster.gone({one.task for one in kept})
        return False

    # Kafka keeps what is waiting for its turn, in long queues.
    with cluster.hurried():
        until(gone, within=LONG)
    cluster.places.bus.deliver(kept)


def kill_bus(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """The broker is killed, and starts again at once."""
    cluster.places.bus.kill()
    cluster.places.bus.start()


def stop_bus(cluster: Cluster, _dice: random.Random, pause: float) -> None:
    """The broker is away for a while."""
    cluster.places.bus.stop()
    time.sleep(pause)
    cluster.places.bus.start()


def kill_store(cluster: Cluster, _dice: random.Random, _pause: float) -> None:
    """PostgreSQL is killed, and starts again at once."""
    cluster.places.postgresql.kill()
    cluster.places.postgresql.start()


def stop_artifacts(cluster: Cluster, _dice: random.Random, pause: float) -> None:
    """The object store is away for a while."""
    if cluster.places.s3 is not None:
        cluster.places.s3.kill()
        time.sleep(pause)
        cluster.places.s3.start()


def fill_artifacts(cluster: Cluster, _dice: random.Random, pause: float) -> None:
    """The disk of the artifacts is full to the last byte until a worker was refused, and for a while after that."""
    disk = cluster.places.disk
    assert disk is not None

    def refused() -> int:
        return sum(len(worker.logged("server_unavailable")) for worker in cluster.workers)

    before = refused()
    disk.fill()
    until(lambda: refused() > before, within=LONG)
    time.sleep(pause)
    disk.free()


def cut_link(cluster: Cluster, _dice: random.Random, pause: float) -> None:
    """The link of one worker carries nothing for a while; neither end is told."""
    assert cluster.link is not None
    assert cluster.workers[BEHIND_THE_LINK].process.poll() is None
    cluster.link.cut()
    time.sleep(pause * _LINK)
    cluster.link.mend()


def set_clocks(cluster: Cluster, dice: random.Random, pause: float) -> None:
    """
    The clocks of who leads and of a worker go an hour wrong, then as wrong the other way, then right.

    With wrong clocks, results must go on coming, except where files lie in an object store: S3 refuses what a clock
    signs that is wrong by a quarter of an hour, and a job that has only files left to make waits. There, each clock is
    wrong for half of the pause.
    """
    mine = [cluster.clocks[cluster.leader()], cluster.clocks[len(cluster.servers) + cluster.any_worker(dice)]]
    first = dice.choice((_WRONG, -_WRONG))
    for wrong in (first, -first, 0):
        for clock in mine:
            clock.set(wrong)
        cluster.replace_worker(cluster.any_worker(dice))
        if wrong == 0 or cluster.places.s3 is None:
            cluster.goes_on()
        else:
            time.sleep(pause / 2)


BLOWS: Mapping[str, Blow] = {
    blow.__name__: blow
    for blow in (
        kill_worker,
        freeze_worker,
        kill_leader,
        kill_standby,
        kill_servers,
        kill_in_every_order,
        purge_queues,
        repeat_messages,
        deliver_late,
        kill_bus,
        stop_bus,
        kill_store,
        stop_artifacts,
        fill_artifacts,
        cut_link,
        set_clocks,
    )
}
