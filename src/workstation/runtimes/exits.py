"""Waiting for the end of a process that need not be our child."""

import asyncio
import os

import psutil

POLL_SECONDS = 0.2


async def wait_for_exit(pid: int) -> None:
    """Return once process `pid` has ended, our child or not; at once if there is none."""
    if not hasattr(os, "pidfd_open"):
        await _poll(pid)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _finish, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _finish(ended: "asyncio.Future[None]") -> None:
    if not ended.done():
        ended.set_result(None)


async def _poll(pid: int) -> None:
    while is_alive(pid):  # noqa: ASYNC110 - nothing else tells of a stranger's end on such a system
        await asyncio.sleep(POLL_SECONDS)


def is_alive(pid: int) -> bool:
    """True while process `pid` exists and has not ended (a zombie has)."""
    try:
        return bool(psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD))
    except psutil.NoSuchProcess:
        return False
