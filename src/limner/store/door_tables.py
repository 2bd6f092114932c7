"""Tables of the server's door: tokens, far workers, callbacks with their outbox, and files."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, SmallInteger, Table, Text, text

from limner.store.work_tables import KEY, metadata

#: Tokens: only the digest of a token is kept. They stand in the store of the project ``default``, for all projects.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("project", Text, nullable=False),
    #: ``submit``, ``read``, ``work``, ``work:STAGE``, ``admin``, with blanks between them.
    Column("scopes", Text, nullable=False),
    #: SHA-256 of the token.
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("used", Float),
)

#: Answers that were given to requests with an idempotency key.
idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Text, primary_key=True),
    #: Digest of the request: the same key with another request is a mistake.
    Column("request", LargeBinary, nullable=False),
    Column("job", Text, nullable=False),
    Column("created", Float, nullable=False),
)

#: Workers as they introduced themselves, and when they were last heard of.
workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    #: Encoded Hello.
    Column("detail", LargeBinary, nullable=False),
    #: Encoded state of the last heartbeat: busy tasks, memory, draining.
    Column("state", LargeBinary, nullable=False),
    Column("first_seen", Float, nullable=False),
    Column("last_seen", Float, nullable=False),
    #: When it last answered for a record.
    Column("last_progress", Float),
    Column("records", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    #: It is to stop after what it has in hand.
    Column("drain", SmallInteger, nullable=False),
    Index("workers_by_last_seen", "last_seen"),
)

#: What each worker serves.
served = Table(
    "served",
    metadata,
    Column("worker", Text, primary_key=True),
    #: ``pipeline.stage/implementation``.
    Column("address", Text, primary_key=True),
    #: Digest of the version that it serves.
    Column("version", Text, nullable=False),
    Column("ready", SmallInteger, nullable=False),
    Index("served_by_address", "address"),
)

#: Implementations that no pipeline declares and that live only on outside workers.
offered = Table(
    "offered",
    metadata,
    Column("pipeline", Text, primary_key=True),
    Column("stage", Text, primary_key=True),
    Column("implementation", Text, primary_key=True),
    Column("at", Float, nullable=False),
    #: Id of the token that permitted it.
    Column("by", Text, nullable=False),
)

#: Where a job's end, or its progress, is to be reported.
callbacks = Table(
    "callbacks",
    metadata,
    Column("job", Text, primary_key=True),
    Column("url", Text, nullable=False),
    #: The caller's token, encrypted with the server's key; empty where there is none.
    Column("token", LargeBinary, nullable=False),
    #: ``end`` or ``stream``.
    Column("mode", Text, nullable=False),
    #: Name of the body's format: ``limner``, or one that a system brings.
    Column("format", Text, nullable=False),
    #: ``none`` before anything is due, then ``pending``, ``delivered`` or ``undelivered``.
    Column("state", Text, nullable=False),
    #: Round of the job whose end was last put into the outbox.
    Column("round", Integer, nullable=False),
    #: When the job ended, until that end is in the outbox; set by the transaction that ends the job.
    Column("due", Float),
    Index("callbacks_due", "due", sqlite_where=text("due IS NOT NULL"), postgresql_where=text("due IS NOT NULL")),
)

#: Fates that a callback in stream mode has put into the outbox, by part of the job's ledger.
reported = Table(
    "reported",
    metadata,
    Column("job", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    #: Round of the job in which they were.
    Column("round", Integer, nullable=False),
    #: One byte a record, in the order of the part: 0 where nothing was reported.
    Column("fates", LargeBinary, nullable=False),
)

#: The outbox: one row for each page of a callback.
deliveries = Table(
    "deliveries",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("job", Text, nullable=False),
    #: Round of the job that it reports.
    Column("round", Integer, nullable=False),
    #: The same in every try of one page.
    Column("webhook_id", Text, nullable=False),
    #: Host and port of the receiver: one call to each at a time.
    Column("host", Text, nullable=False),
    Column("page", Integer, nullable=False),
    Column("pages", Integer, nullable=False),
    #: 0 pending, 1 delivered, 2 given up, 3 being written, 4 superseded by a later round.
    Column("state", SmallInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    #: When it is due; while it is being sent, when it would be taken for unsent again.
    Column("next_at", Float, nullable=False),
    Column("last_status", Integer),
    Column("last_error", Text),
    #: How many root records it reports.
    Column("records", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    #: The body, compressed, as it was when it was put into the outbox.
    Column("body", LargeBinary, nullable=False),
    Index("deliveries_by_job", "job", "pk"),
    Index("deliveries_due", "state", "host", "next_at"),
)

#: Every try of every delivery.
delivery_tries = Table(
    "delivery_tries",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("delivery", BigInteger, nullable=False),
    Column("at", Float, nullable=False),
    Column("status", Integer),
    Column("error", Text),
    Column("seconds", Float, nullable=False),
    Index("delivery_tries_by_delivery", "delivery", "pk"),
)

#: Files that were uploaded or made for a client; their bytes are artifacts.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created", Float, nullable=False),
)

#: Digests of artifacts that results of this store name or that were uploaded to it: all that may be handed out.
held_artifacts = Table(
    "held_artifacts",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
    #: Media type, where it is known.
    Column("kind", Text, nullable=False),
    Column("at", Float, nullable=False),
)
