"""Receivers of callbacks: who may be called, with what, and what their answers mean."""

from limner.addresses import AddressGuard, parse
from limner.errors import AddressRefused, UsageError

#: The answer of a receiver that wants nothing more.
GONE = 410


def check_receiver(url: str, token: str, *, guard: AddressGuard) -> None:
    """
    Do nothing if a callback to *url* with *token* can be sent.

    Raises:
        UsageError: the token cannot stand in a header.
        AddressRefused: the address may not be called; the sentence names the setting that would allow it.
    """
    parse(url)
    guard.check(url)
    sendable(token)


def sendable(token: str) -> str:
    """*token*, if it can stand in a header; else it is not even tried: the libraries below would log it."""
    if token != token.strip() or any(ord(character) < 32 or ord(character) == 127 for character in token):
        raise UsageError("The callback's token holds characters that no header can have.")
    return token


def refusal_of(status: int) -> str | None:
    """Why an answer counts as failed; None for one that counts as delivered."""
    if 200 <= status < 300:
        return None
    if status == GONE:
        return "The receiver answered 410: it wants nothing more of this job."
    if 300 <= status < 400:
        return f"The receiver answered {status}; redirects are not followed, so give the address that they lead to."
    return f"The receiver answered {status}."


def receiver_of(url: str) -> str:
    """Host and port of an address: one call to each goes out at a time."""
    try:
        parsed = parse(url)
    except AddressRefused:
        return url[:200]
    return f"{parsed.host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}"
