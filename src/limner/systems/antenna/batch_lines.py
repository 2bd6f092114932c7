"""Lines of a batch's input file: one picture each, all of them by the same steps."""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct
from pydantic import Field, ValidationError

from limner.app.submitting import Reader
from limner.domain.records import RecordIn, SetAside
from limner.systems.antenna.wire import PipelineConfig, SourceImage, Wire
from limner.systems.antenna.wire_images import aside, capture_of, once, why

ENDPOINT = "/v1/pipelines/antenna"
_LINES = "lines/"


class LineBody(Wire):
    """What is asked about one picture."""

    source_image: SourceImage = Field(alias="sourceImage")
    pipeline_config: PipelineConfig = Field(alias="pipelineConfig")


class BatchLine(Wire):
    """One line."""

    custom_id: str = Field(min_length=1, max_length=1024)
    method: Literal["POST"]
    url: Literal["/v1/pipelines/antenna"]
    body: LineBody


class ReadLine(Struct, frozen=True, kw_only=True):
    """One line as it was taken."""

    row: int
    #: None where the line does not say it.
    custom_id: str | None
    taken: RecordIn | SetAside


def reader_of(project: str, *, config: str) -> str:
    """Names the reader of a file of lines of *project* by the steps whose digest is *config*."""
    return f"{__name__}:{_LINES}{project}/{config}"


def __getattr__(name: str) -> Reader:
    """The reader that :func:`reader_of` names."""
    project, slash, config = name.removeprefix(_LINES).rpartition("/")
    if not name.startswith(_LINES) or not slash:
        raise AttributeError(name)
    take = _Taker(project, config=config)
    return lambda line, row: take(line, row).taken


def lines_of(file: BinaryIO, *, project: str, config: str) -> Iterator[ReadLine]:
    """The lines of an input file as the reader takes them, with their custom ids; blank ones are passed over."""
    take = _Taker(project, config=config)
    for row, line in enumerate(file, start=1):
        if line.strip():
            yield take(line, row)


def config_of(config: PipelineConfig) -> str:
    """The digest of some steps as they are asked for."""
    asked = [[stage.stage, stage.implementation] for stage in config.stages]
    return hashlib.sha256(msgspec.json.encode(asked)).hexdigest()[:32]


def first_config(file: BinaryIO) -> tuple[int, PipelineConfig] | None:
    """The steps of the first line that can be read, and its row; None where none can."""
    for row, line in enumerate(file, start=1):
        try:
            return row, BatchLine.model_validate_json(line).body.pipeline_config
        except ValidationError:
            continue
    return None


class _Taker:
    """Takes line after line; of two with one id, or of one picture, only the first becomes a capture."""

    def __init__(self, project: str, *, config: str) -> None:
        self._project = project
        self._config = config
        self._ids = once("custom_id")
        self._pictures = once("sourceImage.id")

    def __call__(self, line: bytes, row: int) -> ReadLine:
        """The line as it is taken."""
        try:
            read = BatchLine.model_validate_json(line)
        except ValidationError as error:
            return ReadLine(row=row, custom_id=_custom_id(line), taken=aside(line, row, why=why(error)))
        image = read.body.source_image
        problem = self._ids(read.custom_id)
        if problem is None and config_of(read.body.pipeline_config) != self._config:
            problem = "Its pipelineConfig differs from that of the first line; make a batch of its own for it."
        if problem is None:
            problem = self._pictures(image.id)
        taken = (
            capture_of(image, project=self._project, index=row) if problem is None else aside(line, row, why=problem)
        )
        return ReadLine(row=row, custom_id=read.custom_id, taken=taken)


def _custom_id(line: bytes) -> str | None:
    """The custom id of a line that is otherwise none."""
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    given = found.get("custom_id") if isinstance(found, dict) else None
    return given if isinstance(given, str) else None
