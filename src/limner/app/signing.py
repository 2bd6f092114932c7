"""Signatures under callbacks, as Standard Webhooks has them."""

import base64
import binascii
import hashlib
import hmac

from limner.errors import ConfigurationError

_SECRET = "whsec_"


def secret_bytes(secret: str) -> bytes:
    """
    The bytes of a signing secret: ``whsec_`` and base64, or any other text as it is.

    Raises:
        ConfigurationError: what follows ``whsec_`` is no base64.
    """
    if not secret.startswith(_SECRET):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except binascii.Error as error:
        raise ConfigurationError("The setting `webhook_secret` goes on with base64 after whsec_.") from error


def signature(secret: bytes, *, webhook_id: str, timestamp: int, body: bytes) -> str:
    """What the header ``webhook-signature`` says: ``v1,`` and the base64 of HMAC-SHA256 over id, timestamp and body."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
