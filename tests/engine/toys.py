"""Small inferrers whose answers can be worked out by hand."""

from pathlib import Path

version = "1"


class Linear:
    """``factor`` times the sum of all that it is given, plus ``add``; ``salt`` changes the version alone."""

    def __init__(self, factor: int = 1, add: int = 0, salt: int = 0) -> None:
        self._factor, self._add = factor, add

    def infer(self, **given: list[int]) -> list[dict[str, int]]:
        """One value for each record; what is absent counts nothing."""
        return [{"value": self._factor * sum(one or 0 for one in row) + self._add} for row in _rows(given)]


class Half:
    """Half of a number, without the rest: different numbers often have the same half."""

    def __init__(self, salt: int = 0) -> None:
        pass

    def infer(self, x: list[int]) -> list[dict[str, int]]:
        """One value for each record."""
        return [{"value": one // 2} for one in x]


class Pair:
    """A value in two parts: the number's tens and its ones."""

    def __init__(self, salt: int = 0) -> None:
        pass

    def infer(self, x: list[int]) -> list[dict[str, int]]:
        """One value for each record."""
        return [{"tens": one // 10, "ones": one % 10} for one in x]


class Picky:
    """Refuses numbers from ``least`` on."""

    def __init__(self, least: int = 100, salt: int = 0) -> None:
        self._least = least

    def infer(self, x: list[int]) -> list[object]:
        """One value or refusal for each record."""
        return [ValueError(f"{one} is too much") if one >= self._least else {"value": one} for one in x]


class Moody:
    """Fails for the numbers that stand in the file ``broken``."""

    def __init__(self, broken: str, salt: int = 0) -> None:
        self._broken = Path(broken)

    def infer(self, x: list[int]) -> list[object]:
        """One value or failure for each record."""
        broken = set(map(int, self._broken.read_text().split()))
        return [ValueError(f"{one} is broken") if one in broken else {"value": one} for one in x]


class Split:
    """One child for each part, which is a name with an optional ``:number``."""

    def __init__(self, salt: int = 0, only: str = "", add: int = 0) -> None:
        self._only, self._add = only, add

    def infer(self, parts: list[list[str]]) -> list[list[dict[str, object]]]:
        """The children of each record."""
        return [[self._child(part) for part in one if part.startswith(self._only)] for one in parts]

    def _child(self, part: str) -> dict[str, object]:
        name, _, number = part.partition(":")
        return {"name": name, "n": int(number or 0) + self._add}


class Gather:
    """All that the members of a group say, in their order."""

    def __init__(self, salt: int = 0) -> None:
        pass

    def infer(self, given: list[list[object]]) -> list[dict[str, object]]:
        """One list for each group."""
        return [{"all": one} for one in given]


class Size:
    """How many letters a file holds."""

    def infer(self, text: list[str]) -> list[dict[str, int]]:
        """One value for each record."""
        return [{"value": len(one)} for one in text]


def _rows(given: dict[str, list[int]]) -> list[tuple[int, ...]]:
    return list(zip(*given.values(), strict=True))


class Sum:
    """Half of the sum of all that it is given and ``add``, without the rest; refuses sums from ``least`` on."""

    def __init__(self, add: int = 0, least: int = 100, salt: int = 0) -> None:
        self._add, self._least = add, least

    def infer(self, **given: list[int]) -> list[object]:
        """One value or refusal for each record."""
        totals = [sum(one or 0 for one in row) for row in _rows(given)]
        return [ValueError("too much") if t >= self._least else {"value": (t + self._add) // 2} for t in totals]


class Letters:
    """One child for each letter of a name."""

    def infer(self, x: list[str]) -> list[list[dict[str, object]]]:
        """The children of each record."""
        return [[{"at": at, "letter": letter} for at, letter in enumerate(one)] for one in x]


class Total:
    """The sum of a list of numbers."""

    def infer(self, given: list[list[int]]) -> list[dict[str, int]]:
        """One value for each list."""
        return [{"value": sum(one)} for one in given]


class Least:
    """A gate: keeps numbers from ``least`` on."""

    def __init__(self, least: int = 10, salt: int = 0) -> None:
        self._least = least

    def infer(self, x: list[int]) -> list[dict[str, bool]]:
        """Whether each record goes on."""
        return [{"keep": one >= self._least} for one in x]


class Named:
    """Says a record's name again."""

    def infer(self, name: list[str]) -> list[dict[str, str]]:
        """The name of each record."""
        return [{"name": one} for one in name]
