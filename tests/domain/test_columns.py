"""The rule of what is stale says the same of many records at once as of each alone."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from limner.domain.assessment import Held, Kind, Verdict, assess
from limner.domain.columns import Memo, assess_column
from limner.domain.digests import digest
from limner.domain.nodes import Node, resolve_sources, spec_of
from limner.domain.pipelines import Stage, make_stage
from limner.domain.reads import optional, where
from limner.domain.subjects import Subject
from limner.domain.tasks import Status
from limner.domain.values import encode


def node(pk: int, stage: Stage, *, upstream: Mapping[str, int], version: int | None = 1) -> Node:
    """A stage as a node."""
    (way,) = stage.implementations
    sources, conditions = resolve_sources(stage, implementation=way, nodes=upstream)
    one = sources[0].node if len(sources) == 1 and not sources[0].read.optional else None
    return Node(
        pk=pk,
        stage=stage,
        implementation=way,
        variant="",
        collection="things",
        version=version,
        sources=sources,
        conditions=conditions,
        own_fields_only=not conditions and all(source.node is None for source in sources),
        only_reads=None if conditions else one,
        within_record=True,
        spec=spec_of(stage, implementation=way),
    )


FIRST = node(1, make_stage("first", infer="m:f", reads={"n": "n"}), upstream={})
SECOND = node(2, make_stage("second", infer="m:f", reads={"n": "first.x"}), upstream={"first": 1})
UNREADY = node(3, make_stage("unready", infer="m:f", reads={"n": "n"}), upstream={}, version=None)
AFTER = node(4, make_stage("after", infer="m:f", reads={"n": "unready.x"}), upstream={"unready": 3})
BOTH = node(
    5, make_stage("both", infer="m:f", reads={"n": optional("second.x"), "m": "m"}), upstream={"first": 1, "second": 2}
)
#: Of the same reads as the first one, and of none, each on conditions.
UNLESS = node(
    6,
    make_stage("unless", infer="m:f", reads={"n": "n"}, when=[where("first.x", "<", 2, reason="large")]),
    upstream={"first": 1},
)
SMALL = node(
    7, make_stage("small", infer="m:f", reads={"n": "n"}, when=where("n", "<", 2, reason="large")), upstream={}
)
NODES = (FIRST, SECOND, UNREADY, AFTER, BOTH, UNLESS, SMALL)

VALUES = st.none() | st.integers(0, 3)
#: What a record has for fields, what is held of it in two nodes, and whether that was asked what would be asked now.
RECORDS = st.lists(
    st.tuples(
        VALUES,
        VALUES,
        *(st.none() | st.tuples(st.sampled_from([Status.DONE, Status.FAILED, Status.SKIPPED]), st.booleans()),) * 5,
    ),
    max_size=6,
)


def alone(
    subject: Subject, held: Mapping[int, Mapping[int, Held]], key: int, nodes: tuple[Node, ...] = NODES
) -> dict[int, Verdict]:
    """What is to be done about every node of one record, one after the other."""
    mine = {pk: found[key] for pk, found in held.items() if key in found}
    verdicts: dict[int, Verdict] = {}
    for one in nodes:
        verdicts[one.pk] = assess(one, subject, held=mine, parent_held={}, verdicts=verdicts)
    return verdicts


@given(RECORDS, st.booleans())
def test_many_at_once_are_each_alone(given_records: list[tuple[object, ...]], asking: bool) -> None:
    """Kinds, states and reasons are those of each alone, and so is what was asked wherever a verdict must say it."""
    # given records of which the store holds something, current or stale
    subjects, held = {}, {one.pk: dict[int, Held]() for one in NODES}
    for key, (n, m, *states) in enumerate(given_records):
        fields = encode({name: value for name, value in (("n", n), ("m", m)) if value is not None})
        subject = subjects[key] = Subject(key, fields, digest=digest(fields))
        for one, state in zip((FIRST, SECOND, BOTH, UNLESS, SMALL), states, strict=True):
            if isinstance(state, tuple):
                status, current = state
                now = alone(subject, held, key)[one.pk].asked
                held[one.pk][key] = Held(
                    status, now if current else b"another", digest(b"%d" % (key % 2)), encode({"x": key % 2 * 3})
                )

    # when
    memo, columns = Memo(), dict[int, list[Verdict]]()
    keys, marks = list(subjects), [subject.digest for subject in subjects.values()]
    for _ in range(2):
        for one in NODES:
            columns[one.pk] = assess_column(
                one,
                keys,
                marks,
                held=held,
                above=columns,
                alone=lambda at, one=one: alone(subjects[at], held, at)[one.pk],  # type: ignore[misc]  # bound now
                memo=memo,
                asking=asking,
            )

    # then
    for key, subject in subjects.items():
        for pk, wanted in alone(subject, held, key).items():
            found = columns[pk][key]
            assert (found.kind, found.status, found.reason) == (wanted.kind, wanted.status, wanted.reason)
            assert found.asked == wanted.asked or (found.kind is Kind.READY and not asking and found.asked == b"")
