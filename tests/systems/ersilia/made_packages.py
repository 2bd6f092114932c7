"""Model packages that the tests make: one that behaves, and one for each way in which a package may misbehave."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent, indent
from typing import TypeAlias

#: Molecules, and the row of each.
Example: TypeAlias = tuple[Sequence[str], Sequence[Sequence[object]]]
GOLDEN: Example = (("CC", "CCO", "CCCO"), ((2,), (3,), (4,)))
#: What the packages that misbehave with one molecule misbehave with.
CULPRIT = "C#N"
#: By the name of a fixture: its id, and the body of ``predict(smiles)``. Each answers with the lengths of its SMILES.
BODIES: Mapping[str, tuple[str, str]] = {
    "plain": ("eos0pln", "return [[len(one)] for one in smiles]"),
    "crash": (
        "eos0crh",
        f"""
        if {CULPRIT!r} in smiles:
            import os, signal
            os.kill(os.getpid(), signal.SIGSEGV)
        return [[len(one)] for one in smiles]
        """,
    ),
    "drop": ("eos0drp", f"return [[len(one)] for one in smiles if one != {CULPRIT!r}]"),
    "swap": ("eos0swp", "return [[len(one), 0] for one in smiles]"),
    "nan": ("eos0nan", f"return [[float('nan') if one == {CULPRIT!r} else len(one)] for one in smiles]"),
    "text": ("eos0txt", f"return [['many' if one == {CULPRIT!r} else len(one)] for one in smiles]"),
    "sleep": (
        "eos0slp",
        f"""
        if {CULPRIT!r} in smiles:
            import time
            time.sleep(600)
        return [[len(one)] for one in smiles]
        """,
    ),
    "eat": (
        "eos0eat",
        f"""
        eaten = bytearray(100_000_000_000 if {CULPRIT!r} in smiles else 1)
        return [[len(one) * len(eaten) // len(eaten)] for one in smiles]
        """,
    ),
    "print": (
        "eos0prt",
        """
        print("calculating", len(smiles), "molecules")
        return [[len(one)] for one in smiles]
        """,
    ),
    "random": (
        "eos0rnd",
        """
        import random
        return [[random.random()] for one in smiles]
        """,
    ),
    "exit": ("eos0ext", "raise SystemExit(1)"),
    "file": (
        "eos0fil",
        """
        from pathlib import Path
        import time
        Path("tmp_input.smi").write_text("\\n".join(smiles))
        time.sleep(0.2)
        return [[len(one)] for one in Path("tmp_input.smi").read_text().split("\\n")]
        """,
    ),
    "third": (
        "eos030p",
        """
        import hashlib
        bad = [hashlib.md5(one.encode()).digest()[0] < 77 for one in smiles]
        return [[None if wrong else len(one)] for one, wrong in zip(smiles, bad)]
        """,
    ),
}
_PROGRAM = '''\
"""A package that the tests made."""

import csv
import sys

HEADER = {header!r}


def predict(smiles):
{body}


if __name__ == "__main__":
    with open(sys.argv[1], newline="") as file:
        rows = predict([row[0] if row else "" for row in csv.reader(file)][1:])
    with open(sys.argv[2], "w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
'''


def misbehaving(folder: Path, name: str, *, in_process: bool = False, consistency: str = "Fixed") -> Path:
    """The fixture called *name* in a folder of its own below *folder*."""
    identity, body = BODIES[name]
    columns = {"swap": ["value:integer", "other:integer"], "random": ["value:float"]}.get(name, ["value:integer"])
    return made(
        folder,
        identity,
        body,
        columns=columns,
        header=["other", "value"] if name == "swap" else None,
        golden=None if name == "swap" else GOLDEN,
        in_process=in_process,
        consistency=consistency,
    )


def made(
    folder: Path,
    identity: str = "eos0pln",
    body: str = "return [[len(one)] for one in smiles]",
    *,
    columns: Sequence[str] = ("value:integer",),
    header: Sequence[str] | None = None,
    golden: Example | None = GOLDEN,
    in_process: bool = False,
    release: str | None = "v1.0.0",
    consistency: str = "Fixed",
    pins: Mapping[str, str] | None = None,
    seconds: Sequence[float] = (0.1, 0.1, 0.1, 0.2, 0.5),
    run: str = "python $1/code/model.py $2 $3",
    served: str | None = None,
) -> Path:
    """A package whose ``predict`` has *body*; ``name:type`` for each of *columns*. One that is *served* has no code."""
    home = folder / identity
    framework = home / "model" / "framework"
    for part in ("code", "columns", "examples"):
        (framework / part).mkdir(parents=True)
    names = [one.partition(":")[0] for one in columns]
    lines = [f"Identifier: {identity}", f"Output Consistency: {consistency}", f"Output Dimension: {len(names)}"]
    lines += [f"Release: {release}"] * (release is not None)
    lines += ["In Process: code/model.py:predict"] * in_process
    lines += [f"Served: {served}"] * (served is not None)
    lines += [f"Computational Performance {n}: {figure}" for n, figure in enumerate(seconds, start=1)]
    (home / "metadata.yml").write_text("".join(f"{line}\n" for line in lines))
    (home / "install.yml").write_text(_install(pins or {}))
    if served is None:
        (framework / "run.sh").write_text(run)
        program = _PROGRAM.format(header=list(header or names), body=indent(dedent(body).strip(), "    "))
        (framework / "code" / "model.py").write_text(program)
    written = [[*one.split(":"), "", "made by a test"] for one in columns]
    _write(framework / "columns" / "run_columns.csv", [["name", "type", "direction", "description"], *written])
    if golden is not None:
        smiles, rows = golden
        _write(framework / "examples" / "run_input.csv", [["smiles"], *([one] for one in smiles)])
        _write(framework / "examples" / "run_output.csv", [names, *rows])
    return home


def _install(pins: Mapping[str, str]) -> str:
    commands = [f"  - [pip, {name}, {version}]" for name, version in pins.items()]
    return "\n".join(['python: "3.11"', *(["commands:"] if commands else []), *commands, ""])


def _write(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
