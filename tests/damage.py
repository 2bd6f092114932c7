"""Damage that tests do to files of a project at work."""

from pathlib import Path


def damage_index(project: Path) -> None:
    """
    Overwrite every file of a project's search index in its place.

    What SQLite maps into memory is left alone, and no file is cut: a process whose map loses its end dies by SIGBUS.
    """
    found = [file for file in (project / ".limner" / "index").rglob("*") if file.is_file()]
    assert found
    for file in found:
        if not file.name.endswith("-shm"):
            with file.open("r+b") as opened:
                opened.write(b"?" * file.stat().st_size)
