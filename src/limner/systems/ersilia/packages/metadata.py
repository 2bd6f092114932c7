"""What a package says of itself in metadata.yml or metadata.json, checked."""

import json
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from limner.systems.ersilia.packages.base import PackageWrong

#: The files that are looked for, the first one wins.
FILES = ("metadata.yml", "metadata.yaml", "metadata.json")
_IDENTIFIER = r"eos[a-z0-9]{4}"
_RELEASE = re.compile(r"v\d+\.\d+\.\d+")


class Metadata(BaseModel):
    """The fields of a package's metadata that matter here; others are let through."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    identifier: str = Field(alias="Identifier", pattern=rf"^{_IDENTIFIER}$")
    slug: str = Field(alias="Slug", default="")
    title: str = Field(alias="Title", default="")
    task: str = Field(alias="Task", default="")
    output: tuple[str, ...] = Field(alias="Output", default=())
    output_dimension: int | None = Field(alias="Output Dimension", default=None)
    output_consistency: str = Field(alias="Output Consistency", default="Fixed", pattern=r"^(Fixed|Variable)$")
    release: str | None = Field(alias="Release", default=None)
    licence: str | None = Field(alias="License", default=None)
    docker_architecture: tuple[str, ...] = Field(alias="Docker Architecture", default=())
    performance_1: float | None = Field(alias="Computational Performance 1", default=None)
    performance_2: float | None = Field(alias="Computational Performance 2", default=None)
    performance_3: float | None = Field(alias="Computational Performance 3", default=None)
    performance_4: float | None = Field(alias="Computational Performance 4", default=None)
    performance_5: float | None = Field(alias="Computational Performance 5", default=None)
    #: Ours: a function below the framework folder that answers without a process of its own.
    in_process: str | None = Field(alias="In Process", default=None, pattern=r"^[\w/.-]+\.py:\w+$")

    #: Ours: the address of a server that runs it, whose ``/run`` is asked in place of a command.
    served: str | None = Field(alias="Served", default=None, pattern=r"^https?://[^\s?#]+$")

    @field_validator("output", "docker_architecture", mode="before")
    @classmethod
    def _list_or_string(cls, value: object) -> object:
        """Some packages write one string where others write a list."""
        return (value,) if isinstance(value, str) else () if value is None else value

    @field_validator("release", mode="after")
    @classmethod
    def _release_or_none(cls, value: str | None) -> str | None:
        """An empty release is none; another one is semantic, with a v."""
        if value is None or not value.strip():
            return None
        if not _RELEASE.fullmatch(value.strip()):
            raise ValueError(f"{value!r} is no release; write it as v1.0.0")
        return value.strip()

    @field_validator("slug", "title", "task", mode="before")
    @classmethod
    def _absent_is_empty(cls, value: object) -> object:
        return "" if value is None else value

    def seconds(self) -> tuple[float | None, ...]:
        """Seconds for 1, 10, 100, 1,000 and 10,000 inputs; None where it failed (-1) or was not said."""
        said = (self.performance_1, self.performance_2, self.performance_3, self.performance_4, self.performance_5)
        return tuple(one if one is not None and one > 0 else None for one in said)


def read_metadata(folder: Path) -> Metadata:
    """
    The metadata of the package in *folder*.

    Raises:
        PackageWrong: there are none, or they are wrong; the sentence names file and field.
    """
    path = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise PackageWrong(f"{folder} is no model package: it has no {' and no '.join(FILES[::2])}.")
    try:
        return Metadata.model_validate(_parsed(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = " ".join(str(part) for part in first["loc"]) or "the file"
        raise PackageWrong(f"{path}: {field}: {first['msg']}.") from error


def _parsed(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text)
        import yaml  # only packages that are written in YAML need it

        return yaml.safe_load(text)
    except (OSError, ValueError) as error:
        raise PackageWrong(f"{path} cannot be read: {error}") from error
    except Exception as error:
        # PyYAML's errors have no base class that is there without it.
        raise PackageWrong(f"{path} is not valid YAML: {error}") from error
