"""What handlers see and how their end becomes an outcome, through the test kit and without a server."""

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from workstation_sdk import Agent, Context, SyncContext, TaskFailed
from workstation_sdk.protocol import VALUE_LIMIT
from workstation_sdk.testing import run_task


async def test_a_result_comes_back(agent: Agent) -> None:
    @agent.task
    async def add_up(ctx: Context, a: int, b: int = 2) -> dict[str, int]:
        return {"sum": a + b}

    outcome = await run_task(agent, "add-up", {"a": 1})
    assert outcome.result == {"sum": 3}
    assert outcome.error is None


async def test_a_payload_that_does_not_fit_is_final(agent: Agent) -> None:
    @agent.task
    async def add_up(ctx: Context, a: int) -> None: ...

    error = (await run_task(agent, "add-up", {"a": "one"})).error
    assert error is not None
    assert (error.type, error.retryable) == ("payload_invalid", False)
    assert "$.a" in error.message


async def test_an_unknown_type_is_final(agent: Agent) -> None:
    error = (await run_task(agent, "nonsense")).error
    assert error is not None
    assert (error.type, error.retryable) == ("unknown_type", False)


async def test_any_exception_is_a_retryable_failure_named_after_it(agent: Agent) -> None:
    @agent.task
    async def divide(ctx: Context) -> float:
        return 1 / 0

    error = (await run_task(agent, "divide")).error
    assert error is not None
    assert (error.type, error.message, error.retryable) == ("ZeroDivisionError", "division by zero", True)


async def test_task_failed_says_how_to_go_on(agent: Agent) -> None:
    @agent.task
    async def fail(ctx: Context) -> None:
        raise TaskFailed("gone", type="NotFound", retryable=False, retry_after=timedelta(seconds=3))

    error = (await run_task(agent, "fail")).error
    assert error is not None
    assert (error.message, error.type, error.retryable, error.retry_after_ms) == (
        "gone",
        "NotFound",
        False,
        3000,
    )


async def test_an_error_message_that_json_cannot_hold_is_mended(agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    # The log shows the traceback as it is, and pytest-xdist cannot carry a captured lone surrogate.
    caplog.set_level(logging.CRITICAL, "workstation_sdk")

    @agent.task
    async def fail(ctx: Context) -> None:
        raise ValueError("bad \ud800 and \0 and " + "long" * 10_000)

    error = (await run_task(agent, "fail")).error
    assert error is not None
    assert error.message.startswith("bad ? and \ufffd and long")
    assert len(error.message) < 9_000


async def test_a_result_that_is_not_json_fails_the_attempt(agent: Agent) -> None:
    @agent.task
    async def odd(ctx: Context) -> object:
        return object()

    error = (await run_task(agent, "odd")).error
    assert error is not None
    assert (error.type, error.retryable) == ("result_not_json", False)


async def test_a_result_over_the_limit_fails_the_attempt(agent: Agent) -> None:
    @agent.task
    async def big(ctx: Context, size: int) -> str:
        return "x" * size

    error = (await run_task(agent, "big", {"size": VALUE_LIMIT})).error
    assert error is not None
    assert error.type == "result_too_large"
    assert len((await run_task(agent, "big", {"size": VALUE_LIMIT - 2})).result) == VALUE_LIMIT - 2


async def test_progress_and_checkpoints_are_told_in_order(agent: Agent) -> None:
    seen: list[Any] = []

    @agent.task
    async def steps(ctx: Context) -> None:
        seen.append(ctx.last_checkpoint)
        await ctx.progress(10, "opening")
        await ctx.checkpoint({"page": 3})
        await ctx.progress(None, "reading")
        seen.append(ctx.last_checkpoint)

    outcome = await run_task(agent, "steps", checkpoint={"page": 2})
    assert [(p.percent, p.message, p.data) for p in outcome.progress] == [
        (10, "opening", None),
        (None, None, {"page": 3}),
        (None, "reading", None),
    ]
    assert seen == [{"page": 2}, {"page": 3}]


async def test_a_percent_out_of_range_is_the_handlers_error(agent: Agent) -> None:
    @agent.task
    async def steps(ctx: Context) -> None:
        await ctx.progress(101)

    error = (await run_task(agent, "steps")).error
    assert error is not None
    assert error.type == "ValueError"


async def test_the_context_tells_the_tasks_facts(agent: Agent) -> None:
    @agent.task
    async def facts(ctx: Context, **rest: object) -> list[object]:
        return [
            ctx.task_id,
            ctx.type,
            ctx.attempt,
            ctx.priority,
            ctx.timeout / timedelta(seconds=1),
            ctx.payload,
        ]

    outcome = await run_task(agent, "facts", {"a": 1}, timeout=7)
    assert outcome.result == ["1", "facts", 1, 5, 7.0, {"a": 1}]


async def test_usage_travels_with_the_result(agent: Agent) -> None:
    @agent.task
    async def chat(ctx: Context) -> str:
        ctx.usage = {"tokens": 12}
        return "hi"

    outcome = await run_task(agent, "chat")
    assert (outcome.result, outcome.usage) == ("hi", {"tokens": 12})


async def test_resources_are_open_while_handlers_run(agent: Agent) -> None:
    events: list[str] = []

    @agent.lifespan
    async def resources(served: Agent) -> AsyncIterator[str]:
        events.append(f"open {served.name}")
        yield "resource"
        events.append("closed")

    @agent.task
    async def use(ctx: Context) -> str:
        events.append("used")
        return str(ctx.resources)

    assert (await run_task(agent, "use")).result == "resource"
    assert events == ["open test-agent", "used", "closed"]


async def test_a_cancelled_handler_cleans_up_and_its_attempt_is_released(agent: Agent) -> None:
    cleaned: list[bool] = []

    @agent.task
    async def wait(ctx: Context) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(ctx.cancelled)

    outcome = await run_task(agent, "wait", cancel_after=0.02)
    assert outcome.released
    assert cleaned == [True]


async def test_a_handler_that_outlives_its_timeout_is_stopped(agent: Agent) -> None:
    @agent.task
    async def wait(ctx: Context) -> None:
        await asyncio.sleep(60)

    error = (await run_task(agent, "wait", timeout=0.05)).error
    assert error is not None
    assert (error.type, error.retryable) == ("timed_out", True)


async def test_a_handler_that_cancels_itself_has_failed(agent: Agent) -> None:
    @agent.task
    async def quit_early(ctx: Context) -> None:
        raise asyncio.CancelledError

    error = (await run_task(agent, "quit-early")).error
    assert error is not None
    assert error.type == "CancelledError"


async def test_a_plain_function_runs_in_a_thread_with_the_same_names(agent: Agent) -> None:
    @agent.task
    def compute(ctx: SyncContext, n: int) -> str:
        ctx.progress(50, "half")
        ctx.checkpoint([n])
        return threading.current_thread().name

    outcome = await run_task(agent, "compute", {"n": 1})
    assert outcome.result.startswith("handler-")
    assert [p.data for p in outcome.progress] == [None, [1]]


async def test_a_thread_learns_that_it_is_cancelled(agent: Agent) -> None:
    @agent.task
    def compute(ctx: SyncContext) -> str:
        ends = time.monotonic() + 5
        while not ctx.cancelled and time.monotonic() < ends:
            time.sleep(0.002)
        return "stopped"

    started = time.monotonic()
    outcome = await run_task(agent, "compute", cancel_after=0.02)
    assert outcome.released
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("error", [ValueError, StopIteration, SystemExit])
async def test_whatever_a_thread_raises_fails_its_attempt(agent: Agent, error: type[BaseException]) -> None:
    @agent.task
    def compute(ctx: SyncContext) -> None:
        raise error("no")

    assert (await run_task(agent, "compute")).error is not None


async def test_a_handler_has_an_asyncio_task_of_its_own(agent: Agent) -> None:
    @agent.task
    async def group(ctx: Context) -> list[str]:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(asyncio.sleep(0, result=name)) for name in ("a", "b")]
        return [task.result() for task in made]

    assert (await run_task(agent, "group")).result == ["a", "b"]


async def test_context_variables_do_not_leak_between_attempts(agent: Agent) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    @agent.task
    async def mark(ctx: Context, wait: bool) -> list[int]:
        before = variable.get()
        variable.set(7)
        if wait:
            await asyncio.sleep(0)
        return [before, variable.get()]

    for wait in (False, True, False):
        assert (await run_task(agent, "mark", {"wait": wait})).result == [0, 7]


def test_two_handlers_of_one_type_are_refused(agent: Agent) -> None:
    @agent.task("scrape")
    async def first(ctx: Context) -> None: ...

    with pytest.raises(ValueError, match="already"):

        @agent.task("scrape")
        async def second(ctx: Context) -> None: ...
