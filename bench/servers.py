"""Servers of their own that works on a cluster start: PostgreSQL that syncs each commit, RabbitMQ or Kafka."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

# The scripts run from their own folder, in the environments of peers too; the services are told by the clone.
sys.path.append(str(Path(__file__).resolve().parent.parent))

from tools.services import Broker, KafkaBroker, PostgreSQLServer

_TICKS = os.sysconf("SC_CLK_TCK")
BUSES = ("rabbitmq", "kafka")


@dataclass(frozen=True, kw_only=True)
class Servers:
    """A database and a broker that run."""

    #: Addresses as Limner's settings take them.
    store: str
    bus: str
    #: What they write to, and run in.
    folder: Path

    def cpu(self) -> float:
        """Seconds of processor that they used."""
        return cpu_under(self.folder)

    def rows(self, question: str) -> int:
        """What the database answers to a question for one number."""
        # Only where there is a server to ask: a plain install has no driver.
        import psycopg

        with psycopg.connect(self.store) as connection:
            (found,) = connection.execute(question.encode()).fetchone() or (0,)
        return int(found)


@contextmanager
def servers(bus: str, *, parameters: str = "") -> Iterator[Servers]:
    """PostgreSQL with fsync on, and the broker *bus* if any, new and empty; *parameters* are added to its address."""
    # Whoever ends the script ends what it started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Not below the current folder: PostgreSQL runs as a user who may not enter it.
    folder = Path(mkdtemp(prefix="limner-bench-"))
    folder.chmod(0o755)
    for name in ("postgresql", "bus"):
        (folder / name).mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = PostgreSQLServer(folder / "postgresql", syncs=True)
        stack.callback(database.kill)
        database.start()
        address = ""
        if bus:
            broker: Broker | KafkaBroker = (Broker if bus == "rabbitmq" else KafkaBroker)(folder / "bus")
            stack.callback(broker.close if isinstance(broker, Broker) else broker.kill)
            broker.start()
            address = broker.url + parameters
        yield Servers(store=database.url, bus=address, folder=folder)


def cpu_under(folder: Path) -> float:
    """Seconds of processor that all processes which run in *folder* used, with what they waited for of their own."""
    whole = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").resolve().is_relative_to(folder):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                whole += sum(int(field) for field in fields[11:15])
        except OSError:
            # It has ended just now, or is somebody else's.
            continue
    return whole / _TICKS
