"""Signatures under callbacks, by the example of the standard itself and by a second hand."""

import pytest

from limner.app.signing import secret_bytes, signature
from limner.errors import ConfigurationError
from limner.settings import load_project
from limner.testing.listener import verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_signature_is_that_of_the_standard() -> None:
    """The example that Standard Webhooks publishes comes out."""
    made = signature(
        secret_bytes(SECRET),
        webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secret", [SECRET, "any text ä", "whsec_" + "AA=="])
def test_sample_verifier_agrees(secret: str) -> None:
    """The verifier of the sample listener accepts it, among other signatures too, and nothing else."""
    made = signature(secret_bytes(secret), webhook_id="msg_1", timestamp=7, body=b"{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "7", "webhook-signature": f"v1,other {made}"}

    assert verify(headers, b"{}", secret=secret)
    assert not verify(headers, b"{ }", secret=secret)
    assert not verify({}, b"{}", secret=secret)


def test_secret_that_is_no_base64_is_refused() -> None:
    """Where it is used and where it is set, with the name of the setting."""
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        secret_bytes("whsec_*")
    with pytest.raises(ConfigurationError, match="webhook_secret"):
        load_project(environment={"LIMNER_WEBHOOK_SECRET": "whsec_*"})
