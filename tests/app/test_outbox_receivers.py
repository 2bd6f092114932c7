"""Whom callbacks are sent to: no address that is not allowed, one call at a time, and no secret in sight."""

import logging
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from limner.app.receivers import check_receiver
from limner.errors import AddressRefused, UsageError
from limner.testing.listener import CallbackListener
from tests.app.calling import PATIENCE, TOKEN, Desk


def test_slow_receiver_holds_up_nobody(tmp_path: Path) -> None:
    """While one receiver hangs the others are served, and it gets no second call at the same time."""
    slow, quick = CallbackListener(token=TOKEN), CallbackListener(token=TOKEN)
    with slow, quick:
        desk = Desk(tmp_path / "project", slow, quick)
        slow.hang()
        for name in ("a", "b"):
            desk.job(name, to=slow)
        desk.tick()
        desk.outbox.tick(desk.clock.now())
        assert slow.wait_for(1)

        desk.job("c", to=quick)
        desk.outbox.collect("c")
        desk.outbox.tick(desk.clock.now())
        assert quick.wait_for(1)
        assert slow.received == []
        slow.release()
        assert desk.outbox.wait(PATIENCE)
        desk.work()

        assert len(slow.received) == 2
        assert slow.most_at_once == 1
        desk.close()


def test_no_transaction_is_open_while_a_call_is_out(desk: Desk, listener: CallbackListener) -> None:
    """The store is written to while a receiver hangs."""
    desk.job(to=listener)
    listener.hang()
    desk.tick()
    desk.outbox.tick(desk.clock.now())
    assert listener.wait_for(1)

    with desk.app.store.transaction() as tx:
        tx.jobs.event("j", "written meanwhile", at=1.0)
    listener.release()
    assert desk.outbox.wait(PATIENCE)

    assert desk.standing().state == "delivered"


def test_redirect_is_not_followed(desk: Desk, listener: CallbackListener) -> None:
    """A redirect counts as refused, and nothing is sent to where it leads."""
    desk.job(to=listener)
    with CallbackListener(token=TOKEN) as other:
        listener.answer(307, headers={"Location": other.url})

        desk.work()

        assert other.received == []
    assert "redirects are not followed" in str(desk.standing().last_error)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/", "file:///etc/passwd"])
def test_address_that_is_not_allowed_is_never_called(desk: Desk, url: str) -> None:
    """Private, link-local and file addresses are refused when they are called, and the sentence says so."""
    desk.job(to=url)

    desk.work()

    stands = desk.standing()
    assert (stands.state, stands.last_status) == ("pending", None)
    assert "allow_hosts" in str(stands.last_error) or "cannot be fetched" in str(stands.last_error)


def test_receiver_is_looked_at_before_it_is_accepted(desk: Desk, listener: CallbackListener) -> None:
    """A request with a callback that could never be sent can be refused at once."""
    check_receiver(listener.url, TOKEN, guard=desk.app.guard())
    with pytest.raises(AddressRefused, match="metadata"):
        check_receiver("http://169.254.169.254/", TOKEN, guard=desk.app.guard())
    with pytest.raises(AddressRefused):
        check_receiver("", TOKEN, guard=desk.app.guard())
    with pytest.raises(UsageError, match="header"):
        check_receiver(listener.url, "two\nlines", guard=desk.app.guard())


def test_tokens_are_in_no_log_and_in_no_row(
    desk: Desk, listener: CallbackListener, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither our own lines nor those of the HTTP client nor the database file hold a callback's token."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs:
        desk.job("a", to=listener)
        desk.job("b", to=listener, token=f"{TOKEN}\nsecond line")
        desk.work()
        listener.down()
        desk.outbox.redeliver("a")
        desk.work()

    assert logs
    assert caplog.records
    stored = b"".join(file.read_bytes() for file in (desk.folder / ".limner").glob("limner.db*"))
    assert TOKEN not in repr(logs) + caplog.text
    assert TOKEN.encode() not in stored
