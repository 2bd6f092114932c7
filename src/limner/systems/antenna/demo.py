"""The antenna end to end on a made night: asked through its own route, called back, watched, explained, and checked."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import numpy as np
from msgspec import Struct, structs

from limner.app.app import App
from limner.domain.values import Value
from limner.errors import LimnerError
from limner.systems.antenna.boxes import overlaps
from limner.systems.antenna.trap_pictures import TrapFrame, night, write_night
from limner.testing.listener import CallbackListener
from limner.testing.local_server import LocalServer
from limner.testing.picture_server import PictureServer

Say: TypeAlias = Callable[[str], None]

_FRAMES, _THINGS, _SIZE, _SEED = 4, 10, (1280, 720), 4
_BROKEN = "20220728232739-06-snapshot.jpg"
_TOKEN = "the token that the web application gave"
_EVENT = "the night of 28 July"
_STAGES = (
    ("OBJECT_DETECTION", "blobs"),
    ("IMAGE_CROP", "crop"),
    ("CLASSIFICATION", "size-shape"),
    ("CNN_FEATURE_CLASSIFIER", "colour-histogram"),
    ("TRACKING", "tracker"),
)
_PATIENCE = 120.0
#: What must hold on pictures whose insects are known: parts of them.
_FOUND, _FOLLOWED = 0.85, 0.8
_MATCHED = 0.3


class DemoFailed(LimnerError):
    """What was found is not what was drawn."""


class Score(Struct, frozen=True, kw_only=True):
    """How what was found compares with what was drawn."""

    insects: int
    found: int
    extra: int
    #: Insects that are on a frame and on the next.
    links: int
    followed: int
    wrong: int


def demo(app: App, say: Say) -> None:
    """
    Make a night at a trap in the folder of *app* and have it looked at; needs no network.

    Raises:
        DemoFailed: what was found is not what was drawn.
    """
    started = perf_counter()
    folder = app.project.folder
    frames = _draw(folder / "pictures", say)
    settings = structs.replace(app.settings, allow_hosts=["127.0.0.1"], facades=["antenna"], parallel=1)
    with (
        PictureServer(folder / "pictures") as pictures,
        CallbackListener(token=_TOKEN) as listener,
        LocalServer(structs.replace(app.project, settings=settings)) as server,
    ):
        names = [*(frame.name for frame in frames), _BROKEN]
        request = _ask(server, names, pictures=pictures, listener=listener, say=say)
        _watch(server, request, say)
        document = _hear(listener, say)
        _draw_on(server, request, frames[0].name, folder, say)
        score = score_of(frames, document["data"])
    _compare(score, say)
    moth = _explain(app, document["data"], say)
    say("")
    say(f"All of that took {perf_counter() - started:.0f} s, and no network. Pictures: {folder / 'pictures'}")
    _try_next(moth, folder, say)
    _check(score, document)


def score_of(frames: Sequence[TrapFrame], data: Sequence[Mapping[str, Value]]) -> Score:
    """How the images of a callback compare with the frames that they were made of."""
    told = {image["sourceImageId"]: image["detections"] for image in data}
    pairs = [_matched(frame, told.get(frame.name, ())) for frame in frames]
    true = [[thing.track for thing in frame.things if thing.label != "debris"] for frame in frames]
    links = followed = wrong = 0
    for at in range(len(frames) - 1):
        both = set(true[at]) & set(true[at + 1])
        links += len(both)
        for name, track in pairs[at].items():
            for other, later in pairs[at + 1].items():
                if track == later:
                    followed += name == other and name in both
                    wrong += name != other
    return Score(
        insects=sum(map(len, true)),
        found=sum(sum(name in pair for name in names) for pair, names in zip(pairs, true, strict=True)),
        extra=sum(len(told.get(frame.name, ())) - len(pair) for frame, pair in zip(frames, pairs, strict=True)),
        links=links,
        followed=followed,
        wrong=wrong,
    )


def _draw(folder: Path, say: Say) -> list[TrapFrame]:
    """A night's pictures in files, with what is on them, and one file that is cut in half."""
    _title(say, "A night at a trap")
    frames = list(night(seed=_SEED, frames=_FRAMES, things=_THINGS, size=_SIZE))
    write_night(folder, iter(frames))
    whole = (folder / frames[-1].name).read_bytes()
    (folder / _BROKEN).write_bytes(whole[: len(whole) // 2])
    insects = sum(thing.label != "debris" for frame in frames for thing in frame.things)
    say(f"  drew {len(frames)} pictures of one board, a minute apart, with {insects} insects that sit, crawl or fly;")
    say("  what is where stands in truth.json. A fifth picture is cut in half, as a failed transfer leaves it.")
    return frames


def _ask(
    server: LocalServer, names: Sequence[str], *, pictures: PictureServer, listener: CallbackListener, say: Say
) -> str:
    """Send a request as the web application does; its id."""
    body = {
        "projectId": "demo",
        "jobId": "first-night",
        "sourceImages": [{"id": name, "url": pictures.url(name), "eventId": _EVENT} for name in names],
        "pipelineConfig": {"stages": [{"stage": stage, "stageImplementation": way} for stage, way in _STAGES]},
        "callback": {"callbackUrl": listener.url, "callbackToken": _TOKEN},
    }
    _title(say, "POST /createRequest")
    say(f"  {len(names)} pictures by their addresses; steps: {', '.join(stage for stage, _ in _STAGES)}")
    answer = server.client.post("/createRequest", json=body)
    if answer.status_code != 202:
        raise DemoFailed(f"The request was not taken: {answer.status_code} {answer.text[:300]}")
    request = str(answer.json()["requestId"])
    say(f"  {answer.status_code}, requestId {request}")
    return request


def _watch(server: LocalServer, request: str, say: Say) -> None:
    """Ask where the request stands, until it has ended."""
    _title(say, f"GET /requests/{request}")
    ends, told = time.monotonic() + _PATIENCE, ""
    while time.monotonic() < ends:
        status = server.client.get(f"/requests/{request}").json()
        line = f"  {status['status']}, {status['progress']}"
        if line != told:
            say(line)
            told = line
        if status["finishedAt"] is not None:
            break
        time.sleep(0.2)
    for code, count in status["failuresByCode"].items():
        say(f"  {count} failed with {code}, and its neighbours are done all the same")


def _hear(listener: CallbackListener, say: Say) -> dict[str, Value]:
    """The callback, once it has come; in short."""
    _title(say, f"POST {listener.url}      (the callback)")
    if not listener.wait_for(1, timeout=_PATIENCE):
        raise DemoFailed("No callback came.")
    call = listener.received[-1]
    document: dict[str, Value] = call.document
    say(f"  token and signature are {'right' if not call.problems else 'WRONG'}; {len(call.body):,} bytes")
    for image in document["data"]:
        error = image.get("error")
        told = error["code"] if error else f"{len(image['detections'])} detections by {_makers(image)}"
        say(f"  {image['sourceImageId']}  {image['status']:9}  {told}")
    one = _best(document["data"])
    say("  one of them:")
    for name, value in _short(one).items():
        say(f"    {name}: {value if isinstance(value, str) else json.dumps(value)}")
    return document


def _draw_on(server: LocalServer, request: str, name: str, folder: Path, say: Say) -> None:
    """Have the boxes drawn on one picture."""
    path = f"/requests/{request}/items/{name}/drawn.jpg"
    _title(say, f"GET {path}")
    answer = server.client.get(path)
    if answer.status_code != 200:
        raise DemoFailed(f"The picture was not drawn: {answer.status_code} {answer.text[:300]}")
    (folder / "drawn.jpg").write_bytes(answer.content)
    say(f"  boxes, labels and tracks on the picture: {folder / 'drawn.jpg'}")


def _compare(score: Score, say: Say) -> None:
    _title(say, "Compared with what was drawn")
    say(f"  found {score.found} of {score.insects} insects, and {score.extra} other things (debris, scale bar, text)")
    say(f"  followed {score.followed} of {score.links} from one picture to the next; {score.wrong} taken for another")


def _explain(app: App, data: Sequence[Mapping[str, Value]], say: Say) -> str:
    """Where what is known of one insect came from; its id."""
    moth = str(_best(data)["id"])
    _title(say, f"limner why detections {moth}")
    why = app.why("detections", moth)
    say(f"  found on {why.parent}")
    boxes = app.why("captures", why.parent or "", stage="detect")
    for origin in [*boxes.origins, *why.origins]:
        made = f"version {origin.version[:12]}…, input {origin.input_digest[:12]}…"
        say(f"  {origin.stage}/{origin.implementation}: {made}, attempt {origin.attempts} on {origin.worker}")
    return moth


def _try_next(moth: str, folder: Path, say: Say) -> None:
    say("")
    say(f"Things to try in {folder.name}:")
    say(f"  limner why detections {moth} --stage classify")
    say("  limner failures")
    say("  limner export detections --to detections.csv")
    say("A project of your own, and its server:")
    say("  limner init --from antenna trap && cd trap && limner serve --allow-host 127.0.0.1")


def _check(score: Score, document: Mapping[str, Value]) -> None:
    """Fail where the path does not work; the figures are far below what it does when it does."""
    failed = [image for image in document["data"] if image["status"] == "FAILED"]
    problems = {
        f"only {score.found} of {score.insects} insects were found": score.found < _FOUND * score.insects,
        f"only {score.followed} of {score.links} were followed": score.followed < _FOLLOWED * score.links,
        f"{len(failed)} pictures failed, and one is broken": [one["sourceImageId"] for one in failed] != [_BROKEN],
    }
    told = [problem for problem, is_so in problems.items() if is_so]
    if told:
        raise DemoFailed(f"The demo did not go as it must: {'; '.join(told)}.")


def _matched(frame: TrapFrame, detections: Sequence[Mapping[str, Value]]) -> dict[str, str]:
    """By the name of what was drawn: the track of the detection that shows it, best overlap first."""
    if not frame.things or not detections:
        return {}
    true = np.array([thing.box for thing in frame.things], dtype=np.float64)
    boxes = [[one["boundingBox"][edge] for edge in ("x1", "y1", "x2", "y2")] for one in detections]
    shared = overlaps(true, np.array(boxes, dtype=np.float64))
    found: dict[int, int] = {}
    for at in np.argsort(-shared, axis=None, kind="stable"):
        row, column = divmod(int(at), len(detections))
        if shared[row, column] < _MATCHED:
            break
        if row not in found and column not in found.values():
            found[row] = column
    return {frame.things[row].track: str(detections[column]["trackId"]) for row, column in found.items()}


def _best(data: Sequence[Mapping[str, Value]]) -> Mapping[str, Value]:
    """The detection that is most surely a large insect."""
    every = [one for image in data for one in image["detections"] if one["classifications"]]
    if not every:
        raise DemoFailed("Nothing was found on any picture.")
    return max(every, key=lambda one: _scores(one).get("large", 0.0))


def _scores(one: Mapping[str, Value]) -> dict[str, float]:
    last = one["classifications"][-1]
    return dict(zip(last["labelNames"], last["scores"], strict=True))


def _short(one: Mapping[str, Value]) -> dict[str, Value]:
    """A detection in a few lines."""
    return {
        "id": one["id"],
        "boundingBox": one["boundingBox"],
        "version": one["version"],
        "classifications": {name: round(score, 3) for name, score in _scores(one).items()},
        "cropUrl": f"{one['cropUrl'][:72]}…",
        "cnnFeatures": f"{one['cnnFeatures']['url'][:72]}…",
        "trackId": one["trackId"],
    }


def _makers(image: Mapping[str, Value]) -> str:
    return ", ".join(stage["version"]["algorithm"] for stage in image["stages"])


def _title(say: Say, text: str) -> None:
    say("")
    say(text)
