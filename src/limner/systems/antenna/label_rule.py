"""A rule on the best label so far: which detections the stages listed after it are for."""

from collections.abc import Mapping, Sequence


class LabelRule:
    """Keeps detections whose best label is accepted, or is not refused."""

    version = "1"

    def __init__(self, *, accept: Sequence[str] = (), refuse: Sequence[str] = (), least: float = 0.0) -> None:
        """
        *accept*: names or ids of labels that pass, all if empty. *refuse*: those that never do. *least*: score needed.

        Raises:
            ValueError: a label is both accepted and refused.
        """
        if set(accept) & set(refuse):
            raise ValueError(f"accepted and refused at once: {', '.join(sorted(set(accept) & set(refuse)))}")
        self._accept = frozenset(accept)
        self._refuse = frozenset(refuse)
        self._least = least

    def infer(self, labels: list[Sequence[Mapping[str, object]]]) -> list[dict[str, object]]:
        """``{"keep": bool, "label": best label's name or None}`` of each detection; without labels it is kept."""
        return [self._judge(one) for one in labels]

    def _judge(self, labels: Sequence[Mapping[str, object]]) -> dict[str, object]:
        if not labels:
            return {"keep": not self._accept, "label": None}
        best = labels[0]
        names = {str(best["id"]), str(best["name"])}
        score = best["score"]
        assert isinstance(score, int | float)
        keep = (not self._accept or bool(names & self._accept)) and not names & self._refuse and score >= self._least
        return {"keep": keep, "label": best["name"]}
