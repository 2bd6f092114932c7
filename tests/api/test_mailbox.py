"""Results of other threads come to the event loop, all of them, by as few wake-ups as can be."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context

from limner.api.mailbox import Mailbox


def test_every_future_ends_with_its_own_result() -> None:
    """Many threads put many results in at the same time: none is lost, none goes to another."""

    async def run() -> list[int]:
        loop, mailbox = asyncio.get_running_loop(), Mailbox[int]()
        waiting: list[asyncio.Future[int]] = [loop.create_future() for _ in range(2000)]
        with ThreadPoolExecutor(8) as threads:
            for number, future in enumerate(waiting):
                threads.submit(mailbox.put, future, number)
            return await asyncio.gather(*waiting)

    assert asyncio.run(run()) == list(range(2000))


def test_what_came_together_wakes_the_loop_once() -> None:
    """Results that are put in before the loop has its turn are delivered by one call."""

    class Counting(asyncio.SelectorEventLoop):
        calls = 0

        def call_soon_threadsafe(
            self, callback: Callable[..., object], *args: object, context: Context | None = None
        ) -> asyncio.Handle:
            self.calls += 1
            return super().call_soon_threadsafe(callback, *args, context=context)

    async def run(loop: Counting) -> int:
        mailbox = Mailbox[int]()
        waiting: list[asyncio.Future[int]] = [loop.create_future() for _ in range(10)]
        before = loop.calls
        for number, future in enumerate(waiting):
            mailbox.put(future, number)
        await asyncio.gather(*waiting)
        return loop.calls - before

    loop = Counting()
    assert loop.run_until_complete(run(loop)) == 1
    loop.close()


def test_a_future_that_was_given_up_stays_so() -> None:
    """Whoever waited has gone: the result is left, and the others have theirs."""

    async def run() -> tuple[bool, int]:
        loop, mailbox = asyncio.get_running_loop(), Mailbox[int]()
        gone, waits = loop.create_future(), loop.create_future()
        gone.cancel()
        mailbox.put(gone, 1)
        mailbox.put(waits, 2)
        return gone.cancelled(), await waits

    assert asyncio.run(run()) == (True, 2)
