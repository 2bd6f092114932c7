"""The plan before anything runs: what is stale, why, how many records, and about how long."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct, field, structs

from limner.domain.assessment import Kind
from limner.domain.groups import assess_group
from limner.domain.jobs import Fate
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.tasks import FileRef
from limner.domain.values import at_path
from limner.domain.versions import Version
from limner.engine.assessing import Assessment, assess_records
from limner.engine.groups import groups_of
from limner.engine.views import View, with_versions
from limner.store.ledger import standing
from limner.store.store import Transaction

_PAGE = 2000


class StagePlan(Struct, kw_only=True):
    """What a run would do in one stage."""

    #: Outputs that would be inferred.
    stale: int = 0
    #: Outputs that may have to be inferred: what they read is inferred anew and may turn out the same.
    possible: int = 0
    #: Why, with counts: ``new``, ``version``, ``input``, ``retry``.
    reasons: dict[str, int] = field(default_factory=dict)
    #: Seconds of inferring, from measured times; None where nothing was measured yet.
    seconds: float | None = None

    def add(self, reason: str, count: int = 1) -> None:
        """Count stale outputs."""
        self.stale += count
        self.reasons[reason] = self.reasons.get(reason, 0) + count


class Plan(Struct, frozen=True, kw_only=True):
    """What a run would do."""

    pipeline: str
    records: int
    stages: dict[str, StagePlan]
    #: Files that would be fetched over the network.
    downloads: int
    #: Stages that cannot run and why: a model that is not there.
    waiting: dict[str, str]

    @property
    def stale(self) -> int:
        """Outputs that would be inferred, in all stages."""
        return sum(stage.stale for stage in self.stages.values())


def name_of(view: View, node: Node) -> str:
    """A node's name in plans: its stage, with the implementation where the view chooses several."""
    several = sum(1 for other in view.nodes if other.stage.name == node.stage.name) > 1
    return f"{node.stage.name}/{node.implementation}" if several else node.stage.name


def estimate(
    tx: Transaction,
    view: View,
    versions: Mapping[int, Version],
    *,
    waiting: Mapping[str, str],
    full: bool,
    only: Sequence[int] | None,
    kept: Callable[[FileRef], bool],
) -> Plan:
    """
    What a run with *versions* (by node) would do; writes nothing.

    Looks at every record where a version or a read moved or *full* asks for it, else only at those that are open.
    """
    stored = {node.pk: node for node in tx.nodes.of(view.pipeline.name)}
    keys = {pk: _version_key(tx, view, pk, version) for pk, version in versions.items()}
    asked = with_versions(view, {node.pk: keys.get(node.pk) for node in view.nodes})
    moved = any(
        node.version is not None
        and (
            node.pk not in stored
            or stored[node.pk].planned != node.version
            or (stored[node.pk].planned_spec or b"")[:-1] != node.spec
        )
        for node in asked.nodes
    )
    stages = {name_of(view, node): StagePlan() for node in view.nodes}
    plan = Plan(
        pipeline=view.pipeline.name,
        records=tx.records.count(view.root),
        stages=stages,
        downloads=0,
        waiting=dict(waiting),
    )
    urls: set[str] = set()
    for collection, page in _pages(tx, asked, moved=moved or full or not view.pipeline.standing, only=only):
        _count_page(tx, asked, collection, page, stages, urls, kept)
        _count_groups(tx, asked, collection, page, stages)
    _count_time(tx, asked, stages)
    return structs.replace(plan, downloads=len(urls))


def _version_key(tx: Transaction, view: View, pk: int, version: Version) -> int:
    """The key of a version; one that is not registered has no results, so any unused key stands for it."""
    node = view.node(pk)
    assert node is not None
    return (
        tx.nodes.find_version(view.pipeline.name, node.stage.name, node.implementation, digest=version.digest)
        or -pk - 1
    )


def _pages(tx: Transaction, view: View, *, moved: bool, only: Sequence[int] | None) -> Iterator[tuple[int, list[int]]]:
    """Collections and keys to look at."""
    if only is not None:
        yield view.root, list(only)
        return
    if not moved:
        for page in tx.ledger.pages(standing(view.pipeline.name), having=Fate.OPEN):
            yield view.root, [key for key, fate in page.items() if fate is Fate.OPEN]
    for collection in view.collections.values():
        if not moved and collection == view.root:
            continue
        if not moved and not view.over(collection):
            continue
        after = 0
        while keys := tx.records.page(collection, after=after, limit=_PAGE, stubs=True):
            yield collection, keys
            after = keys[-1]


def _count_page(
    tx: Transaction,
    view: View,
    collection: int,
    keys: list[int],
    stages: Mapping[str, StagePlan],
    urls: set[str],
    kept: Callable[[FileRef], bool],
) -> None:
    """Add what is stale among some records."""
    nodes = view.over(collection)
    found = assess_records(tx, view, collection, keys)
    known = {node.pk: tx.results.known(keys, node=node.pk) if node.pk > 0 else set() for node in nodes}
    for key, verdicts in found.verdicts().items():
        for node in nodes:
            verdict = verdicts[node.pk]
            stage = stages[name_of(view, node)]
            mine = found.loaded.held.get(node.pk, {}).get(key)
            if verdict.kind is Kind.READY:
                reason = "version" if key in known[node.pk] else "new"
                if mine is not None:
                    reason = "input" if mine.asked else "retry"
                stage.add(reason)
                _count_files(found, node, key, urls, kept)
            elif verdict.kind is Kind.WAITING and mine is not None:
                stage.possible += 1
            elif verdict.kind is Kind.WAITING:
                stage.add("version" if key in known[node.pk] else "new")


def _count_files(found: Assessment, node: Node, key: int, urls: set[str], kept: Callable[[FileRef], bool]) -> None:
    """Add the files that a record's input would fetch over the network."""
    subject = found.loaded.subject(key)
    for source in node.sources:
        owner = subject.parent if source.of_parent else subject
        if source.read.file is None or owner is None:
            continue
        url = str(at_path(dict(owner.fields), source.path))
        far = url.startswith(("http://", "https://")) and url not in urls
        if far and not kept(FileRef(url=url, revision=owner.revision.decode() or None)):
            urls.add(url)


def _count_groups(
    tx: Transaction, view: View, collection: int, keys: list[int], stages: Mapping[str, StagePlan]
) -> None:
    """Add what is stale of the gathers that these records hold."""
    for node in view.gathers:
        if view.collections[node.collection] != collection or node.stage.kind is not StageKind.GATHER:
            continue
        held = tx.results.held(keys, versions=view.versions).get(node.pk, {})
        known = tx.results.known(keys, node=node.pk) if node.pk > 0 else set()
        for holder, group in groups_of(tx, view, node, keys).items():
            mine = held.get(holder)
            verdict = assess_group(node, group.members, mine=mine, complete=group.complete)
            if verdict.kind is Kind.READY:
                reason = "input" if mine is not None else "version" if holder in known else "new"
                stages[name_of(view, node)].add(reason)
            elif verdict.kind is Kind.WAITING and mine is not None:
                stages[name_of(view, node)].possible += 1
            elif verdict.kind is Kind.WAITING:
                stages[name_of(view, node)].add("new")


def _count_time(tx: Transaction, view: View, stages: Mapping[str, StagePlan]) -> None:
    """Estimate seconds from what this version, or the newest measured one before it, took."""
    for node in view.nodes:
        stage = stages[name_of(view, node)]
        speed = tx.nodes.speed(view.pipeline.name, node.stage.name, node.implementation)
        if speed is not None:
            stage.seconds = round(speed * stage.stale, 3)
