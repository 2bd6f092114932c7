"""Pictures on their way in: from what clients send to the captures that are stored, one by one or line by line."""

from collections.abc import Callable

from pydantic import ValidationError

from limner.api.problems import field_path
from limner.app.submitting import Reader
from limner.domain.records import RecordIn, SetAside, excerpt
from limner.domain.values import Value
from limner.systems.antenna.wire import SourceImage

COLLECTION = "captures"
#: Marks an address that is none of the web, so that nobody takes it for a file of this machine.
_FOREIGN = "url:"
_WEB = ("http://", "https://")
#: Name of a reader of lines, with the project behind it.
_LINES = "lines/"


def capture_of(image: SourceImage, *, project: str, index: int) -> RecordIn:
    """The capture that a picture of *project* is stored as; *index* is its place in the request."""
    fields: dict[str, Value] = {
        "project_id": project,
        "source_id": image.id,
        "image_url": fetched_from(image.url),
        "index": index,
    }
    if image.event_id is not None:
        fields["event_id"] = image.event_id
        # The record that holds what is said of the whole event.
        fields["event"] = f"{project}:{image.event_id}"
    if image.taken_at is not None:
        fields["taken_at"] = image.taken_at
    if image.detections is not None:
        fields["detections"] = [box.model_dump(include={"x1", "y1", "x2", "y2"}) for box in image.detections]
    return RecordIn(collection=COLLECTION, id=capture_id(image.id, project=project), fields=fields)


def capture_id(source: str, *, project: str) -> str:
    """The id of a capture; the project's name holds no colon, so that it can be taken apart again."""
    return f"{project}:{source}"


def source_of(capture: str) -> str:
    """The client's own id of a capture."""
    return capture.partition(":")[2]


def fetched_from(url: str) -> str:
    """An address as it is stored: only those of the web are ever followed, whatever this machine may read itself."""
    return url if url.lower().startswith(_WEB) else f"{_FOREIGN}{url}"


def told_as(url: str) -> str:
    """An address as the client gave it."""
    return url.removeprefix(_FOREIGN)


def reader_of(project: str) -> str:
    """Names the reader of a file of source images of *project*, one a line."""
    return f"{__name__}:{_LINES}{project}"


def __getattr__(name: str) -> Reader:
    """The reader that :func:`reader_of` names."""
    if not name.startswith(_LINES):
        raise AttributeError(name)
    return image_lines(name.removeprefix(_LINES))


def image_lines(project: str) -> Reader:
    """A reader of lines that are source images; of two with one id only the first is taken."""
    taken = once("id")

    def read(line: bytes, row: int) -> RecordIn | SetAside:
        try:
            image = SourceImage.model_validate_json(line)
        except ValidationError as error:
            return aside(line, row, why=why(error))
        told = taken(image.id)
        return capture_of(image, project=project, index=row) if told is None else aside(line, row, why=told)

    return read


def once(name: str) -> Callable[[str], str | None]:
    """Says of each value whether it came before; a million of them fit into little memory."""
    seen: set[int] = set()

    def taken(value: str) -> str | None:
        mark = hash(value)
        if mark in seen:
            return f"An earlier line has the same {name}, {value!r}."
        seen.add(mark)
        return None

    return taken


def aside(line: bytes, row: int, *, why: str) -> SetAside:
    """A line that becomes no capture."""
    return SetAside(row=row, reason=why, excerpt=excerpt(line.decode(errors="replace")))


def why(error: ValidationError) -> str:
    """What is wrong with a line, in a sentence."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = field_path(("body", *first["loc"]))
    return f"{where}: {first['msg']}." if where else f"{first['msg']}."
