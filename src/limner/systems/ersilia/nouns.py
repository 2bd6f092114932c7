"""The nouns of the system: releases of models, key schemes, and a prediction."""

import re
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct, field

from limner.domain.failures import FailureCode
from limner.systems.ersilia.columns import Cell, Column

_KEYS = {"inchikey": re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]"), "md5": re.compile(r"[0-9a-f]{32}")}


class KeyScheme(StrEnum):
    """By what a prediction is looked up."""

    INCHIKEY = "inchikey"
    MD5 = "md5"

    def fits(self, key: str) -> bool:
        """Whether *key* is written as this scheme writes keys."""
        return _KEYS[self].fullmatch(key) is not None


class Release(Struct, frozen=True, kw_only=True):
    """One release of a model in one environment: what makes two predictions comparable."""

    #: ``eos3b5e``.
    model: str
    #: ``v1.0.0``.
    release: str
    #: SHA-256 of the package, hexadecimal.
    package: str
    #: Python's minor version and the versions of the pinned packages, as the worker saw them.
    environment: Mapping[str, str]
    columns: tuple[Column, ...]
    #: Whether two runs on its golden input agreed.
    deterministic: bool = True
    #: False where it was used without having reproduced its golden output.
    checked: bool = True

    @property
    def environment_digest(self) -> str:
        """SHA-256 of the environment, hexadecimal."""
        told = "\n".join(f"{name}={version}" for name, version in sorted(self.environment.items()))
        return sha256(told.encode()).hexdigest()

    @property
    def version(self) -> str:
        """``v1.0.0+1a2b3c4d``: the release and the beginning of the digest of package and environment."""
        told = f"{self.package}\n{self.environment_digest}"
        return f"{self.release}+{sha256(told.encode()).hexdigest()[:8]}"


class Failed(Struct, frozen=True, kw_only=True):
    """Why there is no prediction for a molecule."""

    code: FailureCode
    #: The system's own word for it, for example ``bad_smiles``.
    reason: str
    message: str


class Prediction(Struct, frozen=True, kw_only=True):
    """What one version of a model says of one molecule: values in the order of the model's columns, or a failure."""

    key: str
    smiles: str
    values: tuple[Cell, ...] | None = None
    failed: Failed | None = None
    #: The record in collection ``molecules``: md5 of its SMILES.
    record: str = ""
    #: The job that published it.
    job: str = ""
    #: Other facts that a sink may carry along.
    detail: Mapping[str, str] = field(default_factory=dict)
