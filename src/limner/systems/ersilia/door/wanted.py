"""What the better look-up is asked, and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from limner.domain.values import Value
from limner.errors import UsageError
from limner.systems.ersilia.columns import Cell, Column
from limner.systems.ersilia.door.original import MOST
from limner.systems.ersilia.library.rows import MAX_SMILES
from limner.systems.ersilia.nouns import Prediction, Release

ModelId = Annotated[str, Field(min_length=1, max_length=200)]


class Wanted(BaseModel):
    """Predictions of one model or several, of molecules named by keys or by SMILES."""

    model_config = ConfigDict(extra="forbid")

    model: ModelId | Annotated[list[ModelId], Field(min_length=1, max_length=100)] = Field(
        description="Id of a model; of several, each gets a block of its own."
    )
    version: str | None = Field(default=None, description="Release and digest; null is the version that serves.")
    keys: list[str] | None = Field(default=None, max_length=MOST)
    smiles: list[Annotated[str, Field(max_length=MAX_SMILES)]] | None = Field(default=None, max_length=MOST)
    columns: list[str] | None = Field(default=None, description="Only these; null is all of them.")
    compute_missing: bool = Field(default=False, description="Make a job for what is missing, and say which.")

    @model_validator(mode="after")
    def _one_way(self) -> "Wanted":
        if (self.keys is None) == (self.smiles is None):
            raise ValueError("name molecules by keys or by smiles, in one of the two ways")
        if self.compute_missing and self.smiles is None:
            raise ValueError("what is missing can be computed of smiles, not of keys")
        if self.version is not None and not isinstance(self.model, str):
            raise ValueError("a version belongs to one model")
        if self.compute_missing and self.version is not None:
            raise ValueError("what is missing is computed by the version that serves, so name none")
        return self

    @property
    def models(self) -> list[str]:
        """The models that are asked."""
        return [self.model] if isinstance(self.model, str) else list(dict.fromkeys(self.model))


class Molecule(Struct, frozen=True, kw_only=True):
    """One molecule that is asked about."""

    #: Empty where it has none.
    key: str
    smiles: str | None = None
    #: Why it has no key.
    code: str = ""
    message: str = ""


class Result(Struct, frozen=True, kw_only=True):
    """What there is of one molecule."""

    key: str
    smiles: str | None
    #: ``done``, ``failed`` or ``missing``.
    status: str
    values: Sequence[Cell] | None = None
    failure: Mapping[str, str] | None = None


class Block(Struct, frozen=True, kw_only=True):
    """What one version of a model says of molecules, one to one."""

    model: str
    #: Null where nothing of it was published yet.
    version: str | None
    #: Digest of the package, and the versions of what it ran with.
    package: str | None
    environment: Mapping[str, str] | None
    environment_digest: str | None
    key_scheme: str | None
    deterministic: bool | None
    #: Whether it reproduced its golden example before it was used.
    checked: bool | None
    #: Whether the job that fills the version has ended.
    complete: bool
    columns: Sequence[Mapping[str, str]]
    results: Sequence[Result]
    missing: int
    #: The job that computes what is missing.
    job: str | None = None


def result_of(molecule: Molecule, found: Prediction | None, *, places: Sequence[int] | None) -> Result:
    """What there is of one molecule; *places* are those of the columns that are wanted, None for all."""
    if molecule.code:
        failure = {"code": molecule.code, "message": molecule.message}
        return Result(key=molecule.key, smiles=molecule.smiles, status="failed", failure=failure)
    if found is None:
        return Result(key=molecule.key, smiles=molecule.smiles, status="missing")
    if found.failed is not None or found.values is None:
        failed = found.failed
        failure = {"code": failed.code.value, "message": failed.message} if failed else {"code": "", "message": ""}
        return Result(key=found.key, smiles=found.smiles, status="failed", failure=failure)
    values = found.values if places is None else [found.values[place] for place in places]
    return Result(key=found.key, smiles=found.smiles, status="done", values=values)


def places_of(release: Release, columns: Sequence[str] | None) -> list[int] | None:
    """
    Where *columns* stand among those of a release; None for all of them.

    Raises:
        UsageError: it has no such column.
    """
    if columns is None:
        return None
    known = {column.name: place for place, column in enumerate(release.columns)}
    unknown = [name for name in columns if name not in known]
    if unknown:
        shown = ", ".join(list(known)[:10]) + (", …" if len(known) > 10 else "")
        raise UsageError(f"{release.model} has no column {', '.join(unknown)}; it has: {shown}.")
    return [known[name] for name in columns]


def columns_of(release: Release, places: Sequence[int] | None) -> list[Column]:
    """The columns of an answer."""
    return list(release.columns) if places is None else [release.columns[place] for place in places]


def described(columns: Sequence[Column]) -> list[Mapping[str, str]]:
    """Columns as an answer names them."""
    return [{"name": column.name, "type": column.type.value} for column in columns]


def body_of(blocks: Sequence[Block], *, several: bool) -> Value:
    """One block alone, or all of them."""
    return {"blocks": list(blocks)} if several else blocks[0]
