"""What happens too often is thinned out, and the last of it always happens."""

from __future__ import annotations

from functools import partial

from dynamic_mcp.pacing import Bucket, Merger, Paced
from tests.dynamic_mcp.clocks import ManualClock, skip


async def test_the_first_and_the_last_of_equal_notifications_arrive() -> None:
    merger, sent = Merger(0.05), list[int]()
    for number in range(100):
        merger.put("k", partial(sent.append, number))
    assert sent == [0]
    await skip(0.05)
    assert sent == [0, 99]


async def test_different_notifications_do_not_wait_for_each_other() -> None:
    merger, sent = Merger(0.05), list[str]()
    for key in ("a", "b", "a"):
        merger.put(key, partial(sent.append, key))
    assert sent == ["a", "b"]
    merger.close()


async def test_after_a_pause_a_notification_goes_out_at_once() -> None:
    merger, sent = Merger(0.05), list[int]()
    merger.put("k", partial(sent.append, 1))
    await skip(0.05)
    merger.put("k", partial(sent.append, 2))
    assert sent == [1, 2]
    merger.close()


async def test_closed_merger_sends_nothing() -> None:
    merger, sent = Merger(0.05), list[int]()
    merger.put("k", partial(sent.append, 1))
    merger.put("k", partial(sent.append, 2))
    merger.close()
    await skip(0.1)
    assert sent == [1]


def test_bucket_refills() -> None:
    clock = ManualClock()
    bucket = Bucket(2, 100, clock)
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.advance(0.05)
    assert bucket.take()


def test_large_message_delays_later_ones() -> None:
    clock = ManualClock()
    bucket = Bucket(2, 100, clock)
    assert bucket.take(50)
    clock.advance(0.05)
    assert not bucket.take()
    clock.advance(0.5)
    assert bucket.take()


async def test_paced_actions_are_bounded_and_none_is_lost() -> None:
    acted: list[int] = []
    paced = Paced(lambda: acted.append(1), Bucket(3, 0.5), 2.0)
    for _ in range(20):
        paced.act()
    assert len(acted) == 3
    await skip(2.0)
    assert len(acted) == 4
    paced.act()
    paced.stop()
    await skip(2.0)
    assert len(acted) == 4
