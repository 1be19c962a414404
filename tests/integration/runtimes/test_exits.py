"""The end of a process is seen under every event loop we run on."""

import asyncio
import os
import subprocess
from collections.abc import Callable

import psutil
import pytest
import uvloop

from workstation.runtimes.exits import is_alive, wait_for_exit


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_an_end_is_seen_at_once_and_once_for_all(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def see() -> None:
        child = subprocess.Popen(["sleep", "60"])
        waits = [asyncio.create_task(wait_for_exit(child.pid)) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert not any(wait.done() for wait in waits) and is_alive(child.pid)
        child.kill()
        async with asyncio.timeout(30):
            await asyncio.gather(*waits)
        assert not is_alive(child.pid) and psutil.pid_exists(child.pid)
        await wait_for_exit(child.pid)
        child.wait()
        await wait_for_exit(child.pid)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(see())


async def test_giving_up_a_wait_leaves_no_descriptor() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await wait_for_exit(os.getpid())
    assert len(os.listdir("/proc/self/fd")) == before
