"""The SQL tables of predictions, and of what has been published already."""

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, LargeBinary, MetaData, Table, Text, UniqueConstraint

metadata = MetaData()

#: Which shape these tables have; one more with every change that older code cannot read.
FORMAT = 1

#: What holds for the whole of it, one row.
facts = Table(
    "prediction_facts",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("format", Integer, nullable=False),
    #: Null until the first version is begun.
    Column("scheme", Text),
)

#: One version of a model each, numbered in the order in which they were begun.
shelves = Table(
    "prediction_shelves",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    #: The release, as JSON.
    Column("release", LargeBinary, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("updated", Float, nullable=False),
    UniqueConstraint("model", "version"),
)

predicted = Table(
    "predictions",
    metadata,
    Column("shelf", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("smiles", Text, nullable=False),
    Column("record", Text, nullable=False),
    Column("job", Text, nullable=False),
    #: The packed values; null where it failed.
    Column("cells", LargeBinary),
    #: The packed failure; null where it did not fail.
    Column("failure", LargeBinary),
    #: Other facts, packed; null where there are none.
    Column("detail", LargeBinary),
    # On SQLite the rows lie in the order of their keys, without a second copy of every key in an index.
    sqlite_with_rowid=False,
)

#: The batches of a job that a place has; whoever goes on after a stop leaves them out.
published = Table(
    "published_batches",
    metadata,
    Column("job", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    #: What the batch came to, packed.
    Column("outcome", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
