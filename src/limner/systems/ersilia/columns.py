"""Columns of a model and what stands in them; plain, since workers' code needs them."""

from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

#: A predicted value; None is "no value".
Cell: TypeAlias = float | int | str | None


class ColumnType(StrEnum):
    """What a column of a model holds."""

    FLOAT = "float"
    INTEGER = "integer"
    STRING = "string"


class Column(Struct, frozen=True, kw_only=True):
    """One column that a model answers with, as its ``run_columns.csv`` says."""

    name: str
    type: ColumnType
    #: ``high`` or ``low``: which end of the scale is meant well; empty where neither is.
    direction: str = ""
    description: str = ""
