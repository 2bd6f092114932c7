"""The small rules: how jobs move, what is tried again, what makes a version, what a declaration may say."""

from datetime import timedelta
from itertools import product

import pytest

import limner
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import JobState, move
from limner.domain.pipelines import Pipeline, Stage
from limner.domain.reads import FileRead, Read
from limner.domain.retry import RetryPolicy, final
from limner.domain.tasks import ModelRef
from limner.domain.versions import Description, version_of
from limner.errors import ConfigurationError, IllegalMove, LimnerError, NotFound

W, R, C = JobState.WAITING, JobState.RUNNING, JobState.CANCELLING
D, DF, F, X, E = (
    JobState.DONE,
    JobState.DONE_WITH_FAILURES,
    JobState.FAILED,
    JobState.CANCELLED,
    JobState.EXPIRED,
)
ALLOWED = {
    *((W, to) for to in (R, C, X, F, E)),
    *((R, to) for to in (C, D, DF, F, E)),
    (C, X),
    *((ended, R) for ended in (D, DF, F, X, E)),
}


@pytest.mark.parametrize(("old", "new"), list(product(JobState, JobState)))
def test_job_moves_only_as_it_may(old: JobState, new: JobState) -> None:
    """Every pair of states is either a move or refused with a sentence."""
    if (old, new) in ALLOWED:
        assert move(old, new) is new
    else:
        with pytest.raises(IllegalMove, match=f"A job that is {old} cannot become {new}"):
            move(old, new)


def test_states_that_end_a_job_are_those_that_only_a_retry_leaves() -> None:
    """Ended is what waits, runs or is being cancelled no more."""
    assert {state for state in JobState if not state.ended} == {W, R, C}


def test_waits_double_and_are_bounded() -> None:
    """Each wait is twice the one before, a server's wish counts if it is longer, and none is longer than allowed."""
    policy = RetryPolicy(delay=timedelta(seconds=2), longest=timedelta(seconds=10))
    gone = Failure(code=FailureCode.SOURCE_UNAVAILABLE, message="Gone.")
    later = Failure(code=FailureCode.SOURCE_UNAVAILABLE, message="Later.", retry_after=7.0)

    assert [policy.wait(gone, tried=tried) for tried in (1, 2, 3, 4)] == [2.0, 4.0, 8.0, 10.0]
    assert [policy.wait(later, tried=tried) for tried in (1, 3)] == [7.0, 8.0]


def test_default_policy_retries_what_passes_and_nothing_that_stays() -> None:
    """What a source may mend is tried again; what is wrong with the record itself is not."""
    policy = RetryPolicy()
    again = {code for code in FailureCode if policy.allows(Failure(code=code, message="m"), tried=1)}

    assert {FailureCode.SOURCE_TIMEOUT, FailureCode.SOURCE_UNAVAILABLE, FailureCode.WORKER_LOST} <= again
    assert again.isdisjoint({FailureCode.INPUT_INVALID, FailureCode.MODEL_ERROR, FailureCode.SOURCE_NOT_FOUND})
    assert not any(policy.allows(Failure(code=code, message="m"), tried=9) for code in FailureCode)


def test_lost_process_ends_as_exhausted_and_everything_else_as_itself() -> None:
    """Only a process that ended without a word is renamed in the end."""
    for code in FailureCode:
        ended = final(Failure(code=code, message="m"), tried=2)
        if code is FailureCode.WORKER_LOST:
            assert (ended.code, ended.reason) == (FailureCode.ATTEMPTS_EXHAUSTED, "worker lost")
        else:
            assert ended.code is code


def stage(**changes: object) -> Stage:
    """A stage with some changes."""
    options: dict[str, object] = {"reads": {"x": "x"}, "params": {"a": 1}} | changes
    return limner.Stage("s", str(options.pop("infer", "m:F")), **options)  # type: ignore[arg-type]  # handed on


MODEL = ModelRef(name="m", number=1, sha256="aa", filename="m.onnx", manifest={"threshold": 0.5})


def digest_of(
    declared: Stage, *, code: str = "1", model: ModelRef | None = MODEL, environment: dict[str, str] | None = None
) -> str:
    """The digest of a version."""
    description = Description(code=code, environment=environment or {})
    return version_of(declared, implementation="default", description=description, model=model).digest


def test_version_moves_with_what_makes_results_differ() -> None:
    """Code, parameters, model bytes and manifest, declared environment, target and conditions are in it."""
    base = digest_of(stage())
    others = [
        digest_of(stage(), code="2"),
        digest_of(stage(params={"a": 2})),
        digest_of(stage(infer="m:G")),
        digest_of(stage(when=limner.where("x", ">", 1))),
        digest_of(stage(), environment={"numpy": "2.0"}),
        digest_of(stage(), model=None),
        digest_of(stage(), model=ModelRef(name="m", number=1, sha256="bb", filename="m.onnx", manifest=MODEL.manifest)),
        digest_of(stage(), model=ModelRef(name="m", number=1, sha256="aa", filename="m.onnx", manifest={})),
    ]

    assert len({base, *others}) == len(others) + 1


def test_version_stays_with_what_does_not() -> None:
    """Batches, limits, retries, how it is read, and the number or file name of the same model are not in it."""
    base = digest_of(stage())
    same = ModelRef(name="m", number=7, sha256="aa", filename="other.onnx", manifest=MODEL.manifest)

    assert base == digest_of(stage(), model=same)
    assert base == digest_of(
        stage(batch=4, timeout=timedelta(seconds=1), retry=RetryPolicy(attempts={}), reads={"x": "y"}, required=False)
    )


BROKEN: list[tuple[dict[str, object], str]] = [
    ({"name": "Big"}, "small letters"),
    ({"infer": None}, "needs infer="),
    ({"default": "other"}, "has no implementation other"),
    ({"batch": 0}, "batch of at least 1"),
    ({"batch": 8, "task_size": 4}, "task_size of at least its batch"),
    ({"reads": {}}, "reads nothing"),
    ({"reads": {"x": Read(path="url", file=FileRead(), optional=True)}}, "leave optional out"),
    ({"isolation": "hope"}, "isolation='process'"),
    ({"kind": "mop"}, "is no kind"),
    ({"kind": "expand", "of": "c"}, "identity="),
    (
        {"kind": "expand", "of": "c", "identity": ["a"], "outputs": {"a": limner.Text(), "b": limner.Artifact()}},
        "its children cannot hold an Artifact",
    ),
    ({"kind": "gather", "of": "c"}, "by="),
    ({"kind": "gather", "of": "c", "by": "parent", "missing": "guess"}, "missing='run' or 'fail'"),
    ({"kind": "gather", "of": "c", "by": "parent", "when": limner.where("x", "exists")}, "without when="),
    ({"kind": "gather", "of": "c", "by": "parent", "reads": {"x": "parent.x"}}, "no files or parents"),
    ({"kind": "gather", "of": "c", "by": "parent", "reads": {"x": limner.file("url")}}, "no files or parents"),
]


@pytest.mark.parametrize(("changes", "said"), BROKEN)
def test_declaration_that_contradicts_itself_is_refused(changes: dict[str, object], said: str) -> None:
    """The sentence names the stage and what is wrong."""
    options: dict[str, object] = {"name": "s", "infer": "m:F", "reads": {"x": "x"}} | changes
    name, infer = options.pop("name"), options.pop("infer")

    with pytest.raises(ConfigurationError) as refused:
        limner.Stage(name, infer, **options)  # type: ignore[arg-type]  # wrong on purpose

    assert said in str(refused.value)
    assert str(name) in str(refused.value)


def pipeline(*stages: Stage) -> Pipeline:
    """A pipeline of stages."""
    return limner.Pipeline("p", collection="c", stages=stages)


def test_pipeline_refuses_names_that_are_taken_and_stages_out_of_order() -> None:
    """A stage reads only what stands before it."""
    first = limner.Stage("a", "m:F", reads={"x": "x"})

    for wrong, said in (
        ([first, first], "is taken"),
        ([limner.Stage("parent", "m:F", reads={"x": "x"})], "is taken"),
        ([limner.Stage("b", "m:F", reads={"x": "a.y"}), first], "listed after it"),
        ([limner.Stage("b", "m:F", reads={"x": "x"}, when=limner.where("a.y", "exists")), first], "listed after it"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            pipeline(*wrong)


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    """Asking for a stage or an implementation that is not there lists what is."""
    made = pipeline(limner.Stage("a", "m:F", reads={"x": "x"}))

    with pytest.raises(NotFound, match="it has: a"):
        made.stage("b")
    with pytest.raises(NotFound, match="it has: default"):
        made.stage("a").chosen("other")
    with pytest.raises(LimnerError, match="known are"):
        limner.where("x", "~", 1)


def test_pipeline_names_every_collection_it_touches() -> None:
    """Its own comes first."""
    expand = limner.Stage("e", "m:F", kind="expand", of="parts", identity=["n"], reads={"x": "x"})
    gather = limner.Stage("g", "m:F", kind="gather", over="days", of="parts", by="day", reads={"x": "n"})

    assert pipeline(expand, gather).collections() == ["c", "parts", "days"]
