"""Replicas among themselves: who lives, who signs with what."""

from uuid import uuid4

import pytest
from tests.support.spine import Spine

from workstation.engine.node import KeyMismatch, NodeLease


def node(spine: Spine, fingerprint: str = "key") -> NodeLease:
    return NodeLease(spine.database, uuid4(), "http://here", fingerprint)


async def test_a_replica_with_another_key_does_not_join_while_one_lives(spine: Spine) -> None:
    first = node(spine)
    await first.join()
    await node(spine).join()
    with pytest.raises(KeyMismatch):
        await node(spine, "other").join()
    await spine.execute("update nodes set lease_expires_at = now() - interval '1 second'")
    await node(spine, "other").join()


async def test_a_later_start_of_the_same_replica_takes_its_place(spine: Spine) -> None:
    first = node(spine)
    await first.join()
    await first.join()
    assert await spine.value("select count(*) from nodes") == 1


async def test_a_replica_whose_row_is_gone_enters_itself_again(spine: Spine) -> None:
    first = node(spine)
    await first.join()
    await spine.execute("delete from nodes")
    await first.renew_once()
    assert await spine.value("select count(*) from nodes where lease_expires_at > now()") == 1


async def test_who_leaves_is_gone(spine: Spine) -> None:
    first = node(spine)
    await first.join()
    await first.leave()
    assert await spine.value("select count(*) from nodes") == 0
