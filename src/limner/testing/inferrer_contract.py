"""What every inferrer in Python must keep to, checked in a test of one's own: without server, store or worker."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from limner.domain.outputs import AnyOutput
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Runtime
from limner.domain.values import Value, plain
from limner.inferrers.base import whole_value
from limner.inferrers.golden import TOLERANCE, difference
from limner.inferrers.outcomes import Outcomes
from limner.inferrers.python import PythonInferrer


def check_inferrer(
    infer: str,
    inputs: Sequence[Mapping[str, object]],
    *,
    params: Mapping[str, Value] | None = None,
    outputs: Mapping[str, AnyOutput] | None = None,
    identity: Sequence[str] = (),
) -> list[object]:
    """
    Call *infer*, ``package.module:Name``, with *inputs* as a stage would; what it answers for each.

    Each input holds by name what the inferrer is handed: pictures, paths, values. With *outputs*, as a stage declares
    them, the answers are held against them. With *identity*, the fields by which children are told apart, it is one
    that expands: it answers a list of children for each input.

    Raises:
        AssertionError: it has no version, answers another number of outputs than it was given inputs, answers another
            thing the second time or when inputs come one by one, or what its stage does not declare.
        InferrerBroken: it cannot be loaded, or does not take these inputs and parameters.
    """
    kind = StageKind.EXPAND if identity else StageKind.MAP
    assert inputs, "a check needs at least one input"
    runtime = Runtime(
        address=infer,
        infer=infer,
        kind=kind,
        params=params or {},
        model=None,
        reads=dict.fromkeys(inputs[0]),
        outputs=outputs or {},
        batch=len(inputs),
        timeout=timedelta(minutes=1),
        identity=tuple(identity),
    )
    inferrer = PythonInferrer(runtime, model_path=None)
    try:
        description = inferrer.describe()
        assert description.problem is None, f"{infer}: {description.problem}"
        together = inferrer.infer(_columns(inputs))
        again = inferrer.infer(_columns(inputs))
        alone = [inferrer.infer(_columns([one]))[0] for one in inputs]
    finally:
        inferrer.close()
    for other, how in ((again, "asked a second time"), (alone, "asked about one input alone")):
        for at, (first, second) in enumerate(zip(together, other, strict=True)):
            found = _differ(first, second, kind=kind)
            assert not found, f"{infer}, {how}, answers otherwise about input {at}: {found}"
    judge = Outcomes(runtime)
    try:
        for at, output in enumerate(together):
            if not isinstance(output, Exception):
                failure = judge.done(output, index=at, read_digest=b"", files=[]).failure
                assert failure is None, f"{infer}, about input {at}: {failure.message}"
    finally:
        judge.close()
    return together


def _columns(inputs: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    return {name: [one[name] for one in inputs] for name in inputs[0]}


def _differ(first: object, second: object, *, kind: StageKind) -> str | None:
    """How two answers differ, as the end of a sentence; None where they do not."""
    if isinstance(first, Exception) or isinstance(second, Exception):
        same = type(first) is type(second) and str(first) == str(second)
        return None if same else f"{first!r} and {second!r}"
    one, other = (plain(whole_value(answer, kind=kind)) for answer in (first, second))
    return difference(one, other, tolerance=TOLERANCE, at="the output")
