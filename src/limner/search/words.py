"""Words: what of a text is asked for, and how identifiers are made words that nothing cuts."""

from collections.abc import Sequence

#: Longer values are no identifiers.
_LONGEST_IDENTIFIER = 128


def identifiers(values: Sequence[str]) -> str:
    """
    Those of *values* that are one word, each as a token of its own that the tokenizer neither cuts nor stems.

    So ``B/1234-x`` is found by writing all of it, in any case.
    """
    single = (value.strip() for value in values)
    return " ".join(token(value) for value in single if value and len(value) <= _LONGEST_IDENTIFIER and _one(value))


def asked(text: str) -> list[str]:
    """The words of *text*, each once."""
    return list(dict.fromkeys(word for word in text.split() if any(letter.isalnum() for letter in word)))


def needed(words: int) -> int:
    """How many of *words* words must occur where at most 30 %, rounded down, may be missing."""
    return words - words * 3 // 10


def _one(value: str) -> bool:
    return not any(letter.isspace() for letter in value)


def token(value: str) -> str:
    """A token that stands for the whole of *value*; it ends in a digit, which no stemming rule touches."""
    return f"wholly{value.lower().encode('utf-8', 'surrogatepass').hex()}0"
