"""What the store holds of some pictures of a request: their boxes, labels, vectors, tracks, and what made each."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from limner.domain.jobs import Fate, Job
from limner.domain.nodes import Node
from limner.domain.tasks import Status
from limner.domain.values import Value, decode
from limner.domain.versions import Version
from limner.engine.views import View
from limner.store.progress import Made, Said
from limner.store.records import StoredRecord
from limner.store.store import Transaction
from limner.systems.antenna.status_words import FAILED, error_of, fate_of, stopped
from limner.systems.antenna.wire_images import told_as
from limner.systems.antenna.wire_stages import INTERNAL, WIRE_NAMES

_EDGES = ("x1", "y1", "x2", "y2")


class Telling(Struct, frozen=True, kw_only=True):
    """How pictures are told."""

    #: Labels of one classification at most.
    top_k: int
    #: Only what the original contract has.
    strict: bool
    #: The address of an artifact that anybody may follow, by its digest.
    link: Callable[[str], str]


class Pictures:
    """Some pictures of a job with all that was said about them."""

    def __init__(self, tx: Transaction, view: View, job: Job, keys: Sequence[int], *, telling: Telling) -> None:
        self._view = view
        self._job = job
        self._telling = telling
        self._fates = tx.ledger.fates(job.id, keys)
        self._records = tx.records.load(keys)
        self._detections: dict[int, list[StoredRecord]] = defaultdict(list)
        self._load_detections(tx, keys)
        everybody = [*keys, *(one.pk for family in self._detections.values() for one in family)]
        self._said: dict[int, list[Said]] = defaultdict(list)
        for said in tx.progress.said(everybody, versions=view.versions):
            self._said[said.record].append(said)
        self._made: dict[int, dict[int, Made]] = defaultdict(dict)
        for made in tx.progress.made(everybody, versions=view.versions):
            self._made[made.record][made.node] = made
        self._versions = {
            pk: stored.version for pk, stored in tx.nodes.versions(sorted(set(view.versions.values()))).items()
        }
        self._algorithms = _algorithms(view)
        self._values = {node.pk: self._load(tx, node) for node in self._over("crop", "classify", "features")}
        self._tracks: dict[int, str] = {}
        self._tracked: dict[int, Made] = {}
        self._load_tracks(tx)

    def image(self, key: int) -> dict[str, Value]:
        """One picture as a callback tells it."""
        fields = self._records[key].values()
        family = self._detections[key]
        found: dict[str, Value] = {
            "sourceImageId": fields["source_id"],
            "sourceImageUrl": told_as(str(fields["image_url"])),
            "eventId": fields.get("event_id"),
            "stages": self._stages(key, family),
            "detections": [self._detection(one) for one in family],
        }
        if not self._telling.strict:
            found["status"] = fate_of(self._fates.get(key, Fate.OPEN), self._job, begun=self.begun(key))
            found["error"] = self.error(key)
        return found

    def begun(self, key: int) -> bool:
        """Whether anything was said about a picture."""
        return any(said.status is not Status.SKIPPED for said in self._said[key])

    def error(self, key: int) -> dict[str, Value] | None:
        """Why a picture has no result, if that is so."""
        status = fate_of(self._fates.get(key, Fate.OPEN), self._job)
        if self._fates.get(key) is Fate.CANCELLED:
            return stopped(self._job)
        if status != FAILED:
            return None
        family = [said for one in self._detections[key] for said in self._said[one.pk]]
        return error_of(self._view, [*self._said[key], *family])

    # What is loaded

    def _load_detections(self, tx: Transaction, keys: Sequence[int]) -> None:
        """The detections that this job's own steps made, as they were found."""
        wanted = self._view.collections["detections"]
        found = tx.records.descendants(keys, but_of=self._view.others)
        members = [key for _, collection, key in found if collection == wanted]
        for record in tx.records.load(sorted(members)).values():
            if record.parent is not None:
                self._detections[record.parent].append(record)

    def _over(self, *stages: str) -> Iterable[Node]:
        return (node for node in self._view.nodes if node.stage.name in stages)

    def _load(self, tx: Transaction, node: Node) -> dict[int, Value]:
        """What one step over detections said of each."""
        if node.version is None:
            return {}
        keys = [one.pk for family in self._detections.values() for one in family]
        found = tx.results.values(keys, node=node.pk, version=node.version)
        return {key: decode(value) for key, value in found.items()}

    def _load_tracks(self, tx: Transaction) -> None:
        """The track of each detection, by its id, and the task that made the tracks of each picture."""
        events: dict[str, list[int]] = defaultdict(list)
        for key, record in self._records.items():
            event = record.values().get("event")
            if event is not None:
                events[str(event)].append(key)
        for node in self._over("track"):
            if node.version is None or not events:
                continue
            holders = tx.records.keys(self._view.collections[node.collection], list(events))
            values = tx.results.values(sorted(holders.values()), node=node.pk, version=node.version)
            made = {one.record: one for one in tx.progress.made(sorted(values), versions={node.pk: node.version})}
            self._tracks |= _tracks_of(values.values(), wanted=self._ids())
            for event, holder in holders.items():
                if holder in made:
                    self._tracked |= dict.fromkeys(events[event], made[holder])

    def _ids(self) -> dict[str, int]:
        return {one.id: one.pk for family in self._detections.values() for one in family}

    # What is told

    def _stages(self, key: int, family: Sequence[StoredRecord]) -> list[dict[str, Value]]:
        """What ran for a picture, each algorithm once."""
        found = []
        for node in self._view.nodes:
            if node.stage.name in INTERNAL or node.version is None:
                continue
            over_picture = node.collection == self._view.pipeline.collection
            members = [key] if over_picture else [one.pk for one in family]
            made = [self._made[one][node.pk] for one in members if node.pk in self._made[one]]
            if node.stage.name == "track":
                made = [self._tracked[key]] if key in self._tracked else []
            if made:
                found.append(_stage(self._version(node), made))
        return [*found, *self._brought(key, family)]

    def _brought(self, key: int, family: Sequence[StoredRecord]) -> list[dict[str, Value]]:
        """The classifiers whose labels a detector brought along."""
        found: dict[str, dict[str, Value]] = {}
        for one in family:
            made = self._made[key].get(one.made_by or 0)
            if made is not None:
                versions = [self._brought_version(one, brought) for brought in _brought(one)]
                found |= {version["algorithm"]: _stage(version, [made]) for version in versions}
        return list(found.values())

    def _brought_version(self, record: StoredRecord, brought: Mapping[str, Value]) -> dict[str, str]:
        """The version of a classifier within a detector: the detector's code, and the model that it names itself."""
        maker = self._maker(record)
        name = str(brought["algorithm"])
        taken = name in self._algorithms.values()
        return {
            "algorithm": f"{maker['algorithm']}/{name}" if taken else name,
            "apiVersion": maker["apiVersion"],
            "modelVersion": str(brought.get("version") or "none"),
        }

    def _detection(self, record: StoredRecord) -> dict[str, Value]:
        fields: Mapping[str, Value] = record.values()
        box: Sequence[int] = fields["box"]
        features = self._last("features", record.pk)
        crop = self._last("crop", record.pk)
        found: dict[str, Value] = {
            "id": record.id,
            "cropUrl": None if crop is None else self._telling.link(crop[1]["crop"]["sha256"]),
            "version": self._maker(record),
            "boundingBox": {name: int(edge) for name, edge in zip(_EDGES, box, strict=True)},
            "classifications": self._classifications(record),
            "cnnFeatures": None if features is None else self._features(*features),
        }
        if not self._telling.strict:
            found["score"] = fields.get("score")
            found["trackId"] = self._tracks.get(record.pk)
        return found

    def _last(self, stage: str, key: int) -> tuple[Node, Value] | None:
        """What the last implementation of a stage that said anything said."""
        found = [(node, self._values[node.pk][key]) for node in self._over(stage) if key in self._values[node.pk]]
        return found[-1] if found else None

    def _features(self, node: Node, value: Value) -> dict[str, Value] | None:
        file = value.get("file")
        return None if file is None else {"version": self._version(node), "url": self._telling.link(file["sha256"])}

    def _classifications(self, record: StoredRecord) -> list[dict[str, Value]]:
        found = []
        for brought in _brought(record):
            found.append(self._labels(brought["labels"], version=self._brought_version(record, brought)))
        for node in self._over("classify"):
            value = self._values[node.pk].get(record.pk)
            if value is not None:
                found.append(self._labels(value["labels"], version=self._version(node)))
        return found

    def _labels(self, labels: Sequence[Mapping[str, Value]], *, version: Mapping[str, str]) -> dict[str, Value]:
        """Labels as lists of equal length, best first."""
        best = sorted(labels, key=lambda label: -float(label["score"]))[: self._telling.top_k]
        found: dict[str, Value] = {
            "algorithm": version["algorithm"],
            "labelIds": [str(label["id"]) for label in best],
            "labelNames": [str(label["name"]) for label in best],
            "displayScores": [round(100 * float(label["score"])) for label in best],
            "scores": [float(label["score"]) for label in best],
        }
        if not self._telling.strict:
            found["version"] = dict(version)
        return found

    def _maker(self, record: StoredRecord) -> dict[str, str]:
        """The version of what made a detection's box."""
        node = self._view.node(record.made_by or 0)
        assert node is not None, "detections of other implementations were left out"
        return self._version(node)

    def _version(self, node: Node) -> dict[str, str]:
        """What says which version of a step ran; never empty."""
        stored = self._versions[node.version or 0]
        return {
            "algorithm": self._algorithms[node.pk],
            "apiVersion": stored.code or "unknown",
            "modelVersion": model_version(stored),
        }


def model_version(version: Version) -> str:
    """The model of a version: its name and number, else the beginning of its digest, else ``none``."""
    if version.model is None:
        return "none"
    if version.model.name and version.model.number:
        return f"{version.model.name}@{version.model.number}"
    return version.model.sha256[:12] or "none"


def _brought(record: StoredRecord) -> Sequence[Mapping[str, Value]]:
    """What a detector that also classifies said of one of its boxes."""
    fields: Mapping[str, Value] = record.values()
    found: Sequence[Mapping[str, Value]] = fields.get("classifications") or ()
    return found


def _algorithms(view: View) -> dict[int, str]:
    """The name of each step's implementation, told apart where two stages have one of the same name."""
    found: dict[int, str] = {}
    for node in view.nodes:
        name = node.implementation
        taken = name in found.values() and node.stage.name not in INTERNAL
        stage = WIRE_NAMES.get(node.stage.name, node.stage.name)
        found[node.pk] = f"{name} ({stage})" if taken else name
    return found


def _stage(version: Mapping[str, str], made: Sequence[Made]) -> dict[str, Value]:
    """
    What ran for a picture, and how long it took.

    ``inference`` is the picture's share of the time that the inferrer was busy with the task; ``total`` its share of
    the time from when a worker began with the task to the commit of its last answer; ``http`` what of that was not
    inferring, which is fetching, decoding and moving data.
    """
    inference = sum(one.seconds / max(1, one.size) for one in made)
    total = max(inference, sum(_lasted(one) / max(1, one.size) for one in made))
    ended = max((one.ended for one in made if one.ended is not None), default=0.0)
    return {
        "taskId": str(max(one.task for one in made)),
        "version": dict(version),
        "timing": {
            "http": round(total - inference, 6),
            "inference": round(inference, 6),
            "total": round(total, 6),
        },
        "timestamp": int(ended),
    }


def _lasted(made: Made) -> float:
    """Seconds that a task took; none where the worker's clock and the server's do not agree."""
    if made.started is None or made.ended is None:
        return made.seconds
    return max(0.0, made.ended - made.started)


def _tracks_of(values: Iterable[bytes], *, wanted: Mapping[str, int]) -> dict[int, str]:
    """By detection among *wanted* (ids and keys) its track."""
    return {
        wanted[detection]: str(track["id"])
        for value in values
        for track in decode(value)["tracks"]
        for detection in track["detections"]
        if detection in wanted
    }
