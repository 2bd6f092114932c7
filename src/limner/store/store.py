"""The store: transactions over one database, with a room for each noun."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from limner.errors import StoreUnavailable
from limner.store.callbacks import Callbacks, Deliveries
from limner.store.dialect import Leadership, begin, on_this_machine, open_engine, size_of
from limner.store.files import Files, HeldArtifacts
from limner.store.groups import Groups
from limner.store.idempotency import Idempotency
from limner.store.jobs import Jobs
from limner.store.journal import Journal
from limner.store.ledger import Ledger
from limner.store.lookups import LookUps
from limner.store.migrate import bring_up
from limner.store.models import Models
from limner.store.nodes import Nodes
from limner.store.progress import Progress
from limner.store.records import Records
from limner.store.results import Results
from limner.store.roots import Roots
from limner.store.statements import Statements
from limner.store.tasks import Tasks
from limner.store.tokens import Tokens
from limner.store.workers import Workers


class Transaction:
    """One transaction, by noun."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self.connection = connection
        self.records = Records(connection, statements)
        self.nodes = Nodes(connection, statements)
        self.results = Results(connection, statements)
        self.tasks = Tasks(connection, statements)
        self.jobs = Jobs(connection, statements)
        self.lookups = LookUps(connection, statements)
        self.ledger = Ledger(connection, statements)
        self.groups = Groups(connection, statements)
        self.models = Models(connection, statements)
        self.journal = Journal(connection, statements)
        self.roots = Roots(connection, statements)
        self.tokens = Tokens(connection, statements)
        self.idempotency = Idempotency(connection, statements)
        self.callbacks = Callbacks(connection, statements)
        self.deliveries = Deliveries(connection, statements)
        self.files = Files(connection, statements)
        self.held = HeldArtifacts(connection, statements)
        self.progress = Progress(connection, statements)
        self.workers = Workers(connection, statements)

    @property
    def size(self) -> int:
        """Bytes that the database takes."""
        return size_of(self.connection)


class Store:
    """
    The only truth: what is not in it did not happen.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: the database cannot be opened, or a newer Limner made it.
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._statements = Statements()
        bring_up(self._engine)
        #: Who of several processes on one database leads.
        self.leadership = Leadership(self._engine)
        self._looking_up = threading.Lock()
        self._kept: Connection | None = None
        #: Whether a reading waits for nothing but this machine's disk.
        self.on_this_machine = on_this_machine(self._engine)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction that writes: all of it is on the disk when the block ends, nothing of it after an error."""
        with self._begun(writing=True) as transaction:
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A transaction that only reads: everything it sees is of one moment."""
        with self._begun(writing=False) as transaction:
            yield transaction

    @contextmanager
    def looking_up(self) -> Iterator[Transaction]:
        """
        The same as :meth:`reading`, one at a time, over a connection that is kept: for the shortest of questions.

        To take a connection from the pool, and to give it back, takes longer than a few look-ups in a file do.
        """
        if not self.on_this_machine:
            with self.reading() as transaction:
                yield transaction
            return
        with self._looking_up:
            if self._kept is None:
                self._kept = self._engine.connect()
            driver = self._kept.connection
            try:
                driver.execute("BEGIN")
                yield Transaction(self._kept, self._statements)
            except (DBAPIError, self._engine.dialect.loaded_dbapi.Error) as error:
                raise StoreUnavailable(f"The store refused: {getattr(error, 'orig', error)}") from error
            finally:
                self._kept.rollback()
                driver.rollback()

    @contextmanager
    def _begun(self, *, writing: bool) -> Iterator[Transaction]:
        try:
            with self._engine.connect() as connection:
                begin(connection, writing=writing)
                try:
                    yield Transaction(connection, self._statements)
                except BaseException:
                    connection.rollback()
                    raise
                connection.commit()
        except DBAPIError as error:
            raise StoreUnavailable(f"The store refused: {error.orig}") from error

    def close(self) -> None:
        """Let go of all connections."""
        with self._looking_up:
            if self._kept is not None:
                self._kept.close()
                self._kept = None
        self._engine.dispose()
