"""Tables of the work itself: records and results, tasks and jobs, models, and who follows what changes."""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

#: A key that the database numbers; SQLite does so only for INTEGER.
KEY = BigInteger().with_variant(Integer, "sqlite")

#: Ranges of primary keys that were given out, by table: rows are numbered before they are inserted.
sequences = Table(
    "sequences",
    metadata,
    Column("name", Text, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

collections = Table(
    "collections",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)

records = Table(
    "records",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("collection", Integer, nullable=False),
    Column("id", Text, nullable=False),
    #: 0 live, 1 named by a child or a group only, 2 retired.
    Column("state", SmallInteger, nullable=False),
    Column("parent", BigInteger),
    #: The record that a job counts for this one; null for itself.
    Column("root", BigInteger),
    #: The node whose expansion made it.
    Column("made_by", Integer),
    Column("source_version", BigInteger),
    Column("revision", Text),
    #: Over fields, revision, source version and parent.
    Column("digest", LargeBinary, nullable=False),
    Column("fields", LargeBinary, nullable=False),
    # The id first: a page of a collection is then read in order of the keys, which are the rows' own.
    UniqueConstraint("id", "collection"),
    Index(
        "records_by_parent",
        "parent",
        sqlite_where=text("parent IS NOT NULL"),
        postgresql_where=text("parent IS NOT NULL"),
    ),
    Index("records_by_root", "root", sqlite_where=text("root IS NOT NULL"), postgresql_where=text("root IS NOT NULL")),
)

nodes = Table(
    "nodes",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("implementation", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("collection", Integer, nullable=False),
    #: The version that is served, and the one that the last pass over the collection planned for.
    Column("active", Integer),
    Column("planned", Integer),
    #: The digest of how it read when it was last planned: a changed read needs a pass too.
    Column("planned_spec", LargeBinary),
    #: The declaration no longer holds the stage.
    Column("retired", SmallInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("pipeline", "stage", "implementation", "variant"),
)

versions = Table(
    "versions",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("implementation", Text, nullable=False),
    Column("digest", Text, nullable=False),
    #: Encoded Version.
    Column("detail", LargeBinary, nullable=False),
    Column("created", Float, nullable=False),
    #: What was measured: records inferred and seconds that they took.
    Column("records", BigInteger, nullable=False, server_default=text("0")),
    Column("seconds", Float, nullable=False, server_default=text("0")),
    UniqueConstraint("pipeline", "stage", "implementation", "digest"),
)

results = Table(
    "results",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("node", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("task", BigInteger),
    #: Attempts that it was charged with, the one that made it included.
    Column("tried", SmallInteger, nullable=False),
    Column("asked", LargeBinary, nullable=False),
    Column("read", LargeBinary, nullable=False),
    Column("value_digest", LargeBinary, nullable=False),
    #: Encoded value, failure, or reason of a skip.
    Column("value", LargeBinary, nullable=False),
    Index("results_by_record", "record", "node", "version", unique=True),
)

tasks = Table(
    "tasks",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("node", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("job", Text),
    #: 0 ready, 1 sent, 2 ended, 3 dropped.
    Column("state", SmallInteger, nullable=False),
    Column("priority", Integer, nullable=False),
    #: Attempts that its records were charged with before.
    Column("tried", SmallInteger, nullable=False),
    #: Times that it was handed out, and times that its worker was lost with it.
    Column("attempt", Integer, nullable=False),
    Column("lost", SmallInteger, nullable=False),
    Column("not_before", Float, nullable=False),
    Column("lease_until", Float),
    Column("worker", Text),
    #: Smallest and largest record in it.
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    #: Open records, packed.
    Column("open", LargeBinary, nullable=False),
    Column("size", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("unchanged", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("started", Float),
    Column("ended", Float),
    Column("seconds", Float, nullable=False),
    Index("tasks_by_node", "node", "state", "last"),
    Index("tasks_by_job", "job", "state", "node", "pk"),
    Index("tasks_by_state", "state", "node", "job"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("created", Float, nullable=False),
    Column("ended", Float),
    #: Grows with every change of the row's counters.
    Column("inferred", BigInteger, nullable=False),
    Column("reused", BigInteger, nullable=False),
    Column("downloads", BigInteger, nullable=False),
    Column("set_aside", BigInteger, nullable=False),
    #: Encoded Job; its state and counters are those of the columns.
    Column("detail", LargeBinary, nullable=False),
    Index("jobs_by_state", "state"),
)

ledger = Table(
    "ledger",
    metadata,
    #: A job, or ``standing:`` and the name of a pipeline.
    Column("owner", Text, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    # The counts stand before the long columns: SQLite would read those to get at what follows them.
    Column("open", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("cancelled", Integer, nullable=False),
    #: Records in order of their keys, packed, and one byte of fate for each.
    Column("records", LargeBinary, nullable=False),
    Column("fates", LargeBinary, nullable=False),
    Index("ledger_by_last", "owner", "last"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("job", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", LargeBinary, nullable=False),
    Index("job_events_by_job", "job", "pk"),
)

set_aside = Table(
    "set_aside",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("job", Text, nullable=False),
    Column("row", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("excerpt", Text, nullable=False),
    Index("set_aside_by_job", "job", "pk"),
)

#: Every failed attempt, the history that retries keep.
attempts = Table(
    "attempts",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("node", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("job", Text),
    Column("tried", SmallInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("code", Text, nullable=False),
    Column("final", SmallInteger, nullable=False),
    Column("failure", LargeBinary, nullable=False),
    Index("attempts_by_record", "record", "node"),
    Index("attempts_by_job", "job"),
)

#: Gathers whose group was touched and is not settled yet.
marks = Table(
    "marks",
    metadata,
    Column("node", Integer, primary_key=True),
    Column("holder", BigInteger, primary_key=True),
    Column("job", Text),
)

#: Members of groups by a field: which holder each member belongs to.
memberships = Table(
    "memberships",
    metadata,
    Column("node", Integer, primary_key=True),
    Column("member", BigInteger, primary_key=True),
    Column("holder", BigInteger, nullable=False),
    Index("memberships_by_holder", "node", "holder"),
)

models = Table(
    "models",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("created", Float, nullable=False),
    #: Encoded ModelVersion.
    Column("detail", LargeBinary, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("number", Integer, nullable=False),
)

#: Every move of an alias: from, to, promoted or rolled back, when, by whom, forced against which reasons.
alias_moves = Table(
    "alias_moves",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("name", Text, nullable=False),
    Column("alias", Text, nullable=False),
    Column("old", Integer),
    Column("new", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("by", Text, nullable=False),
    Column("reasons", Text, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("pk", KEY, primary_key=True),
    Column("at", Float, nullable=False),
    Column("collection", Integer, nullable=False),
    #: Records whose fields or results changed, packed; empty where ``everything`` did.
    Column("records", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
)

followers = Table(
    "followers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("taken", BigInteger, nullable=False),
)

#: Folders that were named on a command: their files may be read by later runs too.
roots = Table("roots", metadata, Column("path", Text, primary_key=True))
