"""What the store promises about tokens, callbacks and their outbox, idempotency keys and files."""

from collections.abc import Iterator

import pytest

from limner.domain.jobs import Fate, Job, JobState
from limner.errors import ArtifactMissing, KeyReused, NotFound
from limner.store.callbacks import Callback, Page, PageState, Try, Unreported
from limner.store.files import HeldArtifact, StoredFile
from limner.store.store import Store, Transaction
from limner.store.tokens import StoredToken


def token(identity: str, *, digest: bytes = b"d" * 32) -> StoredToken:
    """One token."""
    return StoredToken(
        id=identity, name="web", project="default", scopes=("read", "work:detect"), digest=digest, created=1.0
    )


def job(tx: Transaction, identity: str = "j", *, mode: str = "end") -> None:
    """A job at work that is to be reported."""
    tx.jobs.add(Job(id=identity, pipeline="p", state=JobState.WAITING, created=1.0))
    tx.jobs.move(identity, JobState.RUNNING, at=1.0)
    tx.callbacks.add(Callback(job=identity, url="http://receiver/", mode=mode))


def pages(tx: Transaction, count: int, *, job: str = "j", host: str = "receiver:80", at: float = 10.0) -> None:
    """A whole set of pages of a job."""
    for page in range(1, count + 1):
        name = f"{job}-{at:g}-{page}"
        tx.deliveries.write(job, b"body", round_=1, host=host, webhook_id=name, page=page, records=2, at=at)
    tx.deliveries.release(job, pages=count, at=at)


def claimed(tx: Transaction, *, now: float = 10.0, until: float = 60.0) -> Page:
    """The page that is due."""
    page = tx.deliveries.claim(now=now, until=until)
    assert page is not None
    return page


def settled(tx: Transaction, page: Page, state: PageState, *, status: int = 200, next_at: float = 99.0) -> None:
    """A try of a page that came to *state*."""
    error = None if state is PageState.DELIVERED else f"answered {status}"
    tx.deliveries.settle(page, Try(at=20.0, status=status, error=error, seconds=0.5), state=state, next_at=next_at)


class DoorsContract:
    """Tests that run over every database; *store* is empty at the start of each."""

    @pytest.fixture
    def store(self) -> Store | Iterator[Store]:
        """The store to test, empty; a generator closes it."""
        raise NotImplementedError("abstract: a subclass gives the fixture `store`")

    def test_token_is_found_by_its_digest_only(self, store: Store) -> None:
        """What was stored comes back whole, by the digest of the token and by nothing else."""
        with store.transaction() as tx:
            assert not tx.tokens.any()
            tx.tokens.add(token("t"))

            assert tx.tokens.find(b"d" * 32) == token("t")
            assert tx.tokens.find(b"e" * 32) is None
            assert tx.tokens.any()

    def test_revoked_token_keeps_the_time_of_its_revocation(self, store: Store) -> None:
        """A second revocation changes nothing; of a token that is not there it is refused."""
        with store.transaction() as tx:
            tx.tokens.add(token("t"))
            tx.tokens.revoke("t", at=5.0)
            tx.tokens.revoke("t", at=9.0)
            tx.tokens.note_use("t", at=7.0)
            (found,) = tx.tokens.listing()
            with pytest.raises(NotFound, match="no token x"):
                tx.tokens.revoke("x", at=5.0)

        assert (found.revoked, found.used) == (5.0, 7.0)

    def test_idempotency_key_stands_for_the_first_job(self, store: Store) -> None:
        """The same request has the same job; another request under the key is refused; forgotten keys are free."""
        with store.transaction() as tx:
            assert tx.idempotency.find("k", request=b"r") is None
            assert tx.idempotency.claim("k", request=b"r", job="one", at=1.0) == "one"
            assert tx.idempotency.claim("k", request=b"r", job="two", at=2.0) == "one"
            with pytest.raises(KeyReused, match="'k'"):
                tx.idempotency.find("k", request=b"other")
            assert tx.idempotency.forget(before=1.0) == 0
            assert tx.idempotency.forget(before=1.5) == 1
            assert tx.idempotency.claim("k", request=b"other", job="two", at=2.0) == "two"

    def test_file_comes_back_as_it_was_added(self, store: Store) -> None:
        """A file is found by its id; one that is not there is named."""
        file = StoredFile(id="f", name="in.jsonl", purpose="batch", sha256="a" * 64, size=3, created=1.0)
        with store.transaction() as tx:
            tx.files.add(file)

            assert tx.files.get("f") == file
            with pytest.raises(NotFound, match="no file g"):
                tx.files.get("g")

    def test_only_held_artifacts_are_known(self, store: Store) -> None:
        """An artifact that this store never named is missing, and the first note of one stays."""
        one = HeldArtifact(sha256="a" * 64, size=3, kind="image/jpeg")
        with store.transaction() as tx:
            tx.held.add([one], at=1.0)
            tx.held.add([HeldArtifact(sha256="a" * 64, size=3)], at=2.0)

            assert tx.held.get("a" * 64) == one
            assert tx.held.missing(["b" * 64, "a" * 64]) == ["b" * 64]
            with pytest.raises(ArtifactMissing):
                tx.held.get("b" * 64)

    def test_end_of_a_job_is_due_with_the_end_itself(self, store: Store) -> None:
        """The transaction that ends a job makes its callback due; a new round takes that back."""
        with store.transaction() as tx:
            job(tx)
            before = tx.callbacks.due()
            tx.jobs.move("j", JobState.DONE, at=5.0)
            ended = tx.callbacks.due()
            tx.jobs.move("j", JobState.RUNNING, at=6.0)
            reopened = tx.callbacks.due()
            tx.jobs.move("j", JobState.CANCELLING, at=7.0)
            tx.jobs.move("j", JobState.CANCELLED, at=7.0)
            cancelled = tx.callbacks.find("j")

        assert (before, ended, reopened) == ([], ["j"], [])
        assert cancelled is not None
        assert (cancelled.due, cancelled.state) == (7.0, "none")

    def test_pages_are_sent_only_when_their_set_is_whole(self, store: Store) -> None:
        """What a process wrote before it died is never sent; a set that is released is."""
        with store.transaction() as tx:
            job(tx)
            tx.deliveries.write("j", b"x", round_=1, host="h:80", webhook_id="w", page=1, records=1, at=1.0)
            assert tx.deliveries.claim(now=50.0, until=60.0) is None
            assert tx.deliveries.listing("j") == []
            tx.deliveries.drop_written("j")
            pages(tx, 2)
            found = tx.deliveries.listing("j")

        assert [(page.page, page.pages, page.state) for page in found] == [
            (1, 2, PageState.PENDING),
            (2, 2, PageState.PENDING),
        ]

    def test_page_that_was_claimed_is_due_again_if_nobody_settles_it(self, store: Store) -> None:
        """Between claim and settling nobody else gets the page; after the time of the claim it is due again."""
        with store.transaction() as tx:
            job(tx)
            pages(tx, 1)
            first = claimed(tx)
            assert tx.deliveries.claim(now=59.0, until=99.0) is None
            again = claimed(tx, now=60.0, until=120.0)

        assert (first.pk, first.tries, again.pk, again.tries) == (again.pk, 1, first.pk, 2)
        assert first.webhook_id == again.webhook_id

    def test_hosts_are_due_by_how_long_they_wait(self, store: Store) -> None:
        """Each receiver is named once, the one that waits longest first, but for those that are busy."""
        with store.transaction() as tx:
            for name, at in (("a", 12.0), ("b", 11.0), ("c", 13.0), ("d", 90.0)):
                job(tx, name)
                pages(tx, 2, job=name, host=f"{name}:80", at=at)

            assert tx.deliveries.hosts_due(now=20.0) == ["b:80", "a:80", "c:80"]
            assert tx.deliveries.hosts_due(now=20.0, but={"a:80"}, limit=1) == ["b:80"]

    def test_state_of_a_callback_is_that_of_its_pages(self, store: Store) -> None:
        """Pending while a page is, undelivered once one was given up, delivered when all were taken."""
        seen = []
        with store.transaction() as tx:
            job(tx)
            seen.append(tx.deliveries.standing("j").state)
            pages(tx, 2)
            seen.append(tx.deliveries.standing("j").state)
            settled(tx, claimed(tx), PageState.DELIVERED)
            second = claimed(tx)
            settled(tx, second, PageState.PENDING, status=500)
            stands = tx.deliveries.standing("j")
            seen.append(stands.state)
            second = claimed(tx, now=99.0, until=130.0)
            settled(tx, second, PageState.GIVEN_UP, status=500)
            seen.append(tx.deliveries.standing("j").state)
            again = tx.deliveries.again("j", at=200.0)
            seen.append(tx.deliveries.standing("j").state)
            for _ in range(2):
                settled(tx, claimed(tx, now=200.0, until=230.0), PageState.DELIVERED)
            stored = tx.callbacks.find("j")
            tries = [one.status for one in tx.deliveries.tries(second.pk)]

        assert seen == ["none", "pending", "pending", "undelivered", "pending"]
        assert (stands.tries, stands.last_status, stands.next_try_at) == (1, 500, 99.0)
        assert again == 2
        assert stored is not None
        assert stored.state == "delivered"
        assert tries == [500, 500, 200]

    def test_answer_to_a_page_that_was_sent_again_meanwhile_does_not_count(self, store: Store) -> None:
        """A try that was overtaken leaves the page as it is now, and is kept in its history."""
        with store.transaction() as tx:
            job(tx)
            pages(tx, 1)
            slow = claimed(tx)
            tx.deliveries.again("j", at=30.0)
            settled(tx, slow, PageState.GIVEN_UP, status=410)
            (page,) = tx.deliveries.listing("j")

            assert page.state is PageState.PENDING
            assert len(tx.deliveries.tries(page.pk)) == 1

    def test_superseded_page_is_neither_sent_nor_counted(self, store: Store) -> None:
        """A later set takes the place of all pages before it."""
        with store.transaction() as tx:
            job(tx)
            pages(tx, 2)
            tx.deliveries.supersede("j", at=20.0)
            assert tx.deliveries.standing("j").state == "none"
            pages(tx, 1, at=21.0)

            assert tx.deliveries.backlog().pages == 1
            assert tx.deliveries.backlog().oldest == 21.0
            assert tx.deliveries.standing("j").pages == 1
            assert tx.deliveries.again("j", at=30.0) == 1
            assert len(tx.deliveries.listing("j")) == 3

    def test_receiver_that_wants_nothing_more_is_remembered(self, store: Store) -> None:
        """410 ends what is pending; sending again begins anew."""
        with store.transaction() as tx:
            job(tx)
            pages(tx, 2)
            tx.deliveries.give_up("j", status=410, error="gone", at=20.0)
            assert tx.deliveries.stopped("j")
            assert tx.deliveries.standing("j").state == "undelivered"
            tx.deliveries.again("j", at=30.0)
            assert not tx.deliveries.stopped("j")

    def test_stream_reports_each_record_once_a_round(self, store: Store) -> None:
        """Only records that ended and were not reported; a new round reports again what failed, not what was done."""

        def due(tx: Transaction, round_: int) -> list[int]:
            found = tx.callbacks.unreported("j", round_=round_)
            tx.callbacks.report("j", found, round_=round_)
            return [key for one in found for key in one.keys]

        with store.transaction() as tx:
            job(tx, mode="stream")
            tx.ledger.enter("j", {1: Fate.OPEN, 2: Fate.DONE, 3: Fate.FAILED})
            first = due(tx, 1)
            unchanged = tx.callbacks.unreported("j", round_=1)
            tx.ledger.enter("j", {4: Fate.SKIPPED})
            tx.ledger.settle("j", {1: Fate.DONE})
            second = due(tx, 1)
            tx.ledger.settle("j", {3: Fate.OPEN})
            reopened = due(tx, 2)
            tx.ledger.settle("j", {3: Fate.FAILED})
            third = due(tx, 2)

            assert tx.callbacks.streaming() == ["j"]
            tx.jobs.move("j", JobState.DONE, at=5.0)
            assert tx.callbacks.streaming() == []

        assert (first, unchanged, second, reopened, third) == ([2, 3], [], [1, 4], [], [3])

    def test_record_that_failed_again_between_two_looks_is_reported_again(self, store: Store) -> None:
        """A new round forgets what failed, though its fate is the same."""
        with store.transaction() as tx:
            job(tx, mode="stream")
            tx.ledger.enter("j", {1: Fate.DONE, 2: Fate.FAILED, 3: Fate.CANCELLED})
            tx.callbacks.report("j", tx.callbacks.unreported("j", round_=1), round_=1)

            assert tx.callbacks.unreported("j", round_=2) == [Unreported(part=0, keys=[2, 3], fates=b"\x01\x02\x04")]
