"""One version's dataset in a lake: which rows of a new file are news, and that every key stands once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limner.systems.ersilia.nouns import Release
from limner.systems.ersilia.predictions.files import Files
from limner.systems.ersilia.predictions.lake import alike, keep_rows, lake_folder, part_name, part_number

_FIELDS: dict[str, pa.DataType] = {"key": pa.string(), "part": pa.int32()}
_INDEX = pa.schema(_FIELDS)


class Dataset:
    """The files of one version; a later file's row takes the place of an earlier one's with the same key."""

    def __init__(self, files: Files, release: Release) -> None:
        self._files = files
        self._folder = lake_folder(release)

    def path(self, number: int) -> str:
        """Where the file with *number* lies."""
        return f"{self._folder}/{part_name(number)}"

    def parts(self) -> list[int]:
        """The numbers of the files that are there, rising."""
        numbers = (part_number(name) for name in self._files.names(self._folder))
        return sorted(number for number in numbers if number is not None)

    def index(self, *, before: int | None = None) -> pa.Table:
        """Every key with the number of its file; of those below *before* only."""
        tables = [_INDEX.empty_table()]
        for number in self.parts():
            if before is None or number < before:
                with self._files.reading(self.path(number)) as file:
                    keys = pq.read_table(file, columns=["key"]).column("key")
                tables.append(pa.table([keys, pa.array([number] * len(keys), pa.int32())], schema=_INDEX))
        return pa.concat_tables(tables).combine_chunks()

    def leave_news(self, file: Path, *, index: pa.Table) -> None:
        """
        Take those rows out of a new *file* that the files of *index* hold just so; remove it where none is left.
        """
        keys = pq.read_table(file, columns=["key"]).column("key").combine_chunks()
        known = index.filter(pc.is_in(index.column("key"), value_set=keys))
        if not known.num_rows:
            return
        fresh = pq.read_table(file)
        news = np.ones(fresh.num_rows, dtype=np.bool_)
        for number in _numbers(known):
            with self._files.reading(self.path(number)) as old_file:
                old = pq.read_table(old_file)
            old = old.filter(pc.is_in(old.column("key"), value_set=keys))
            places = pc.index_in(old.column("key"), value_set=keys).to_numpy()
            news[places[alike(fresh.take(pa.array(places)), old)]] = False
        if not news.any():
            file.unlink()
        elif not news.all():
            keep_rows(fresh, news, to=file)

    def settle(self) -> None:
        """Take out of each file the keys that stand in a later one too; a file of which nothing is left goes."""
        index = self.index()
        if pc.count_distinct(index.column("key")).as_py() == index.num_rows:
            return
        newest = index.group_by("key").aggregate([("part", "max")])
        places = pc.index_in(index.column("key"), value_set=newest.column("key").combine_chunks())
        stale = index.filter(pc.less(index.column("part"), newest.column("part_max").take(places)))
        for number in _numbers(stale):
            gone = (
                stale.filter(pc.equal(stale.column("part"), pa.scalar(number, pa.int32())))
                .column("key")
                .combine_chunks()
            )
            self._take_out(number, gone)

    def _take_out(self, number: int, gone: "pa.Array[Any]") -> None:
        with self._files.reading(self.path(number)) as file:
            table = pq.read_table(file)
        kept = ~pc.is_in(table.column("key"), value_set=gone).to_numpy()
        if not kept.any():
            self._files.remove(self.path(number))
            return
        with self._files.writing(self.path(number)) as file:
            keep_rows(table, kept, to=file)


def _numbers(index: pa.Table) -> list[int]:
    """The numbers of the files that *index* names."""
    return [int(number) for number in pc.unique(index.column("part")).to_numpy()]
