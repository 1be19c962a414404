"""`Client` and `AsyncClient`: the same verbs, blocking or awaited.

The senders are imported when the first client is made: httpx takes as long to import as all the rest, and a
started agent never needs it.
"""

from types import TracebackType
from typing import Self

from workstation_sdk.client import agents, calls, tasks, tokens
from workstation_sdk.client.verbs import Awaiting, Blocking, StreamVerb, Verb
from workstation_sdk.environment import find_server


class _TaskVerbs:
    submit = Verb(tasks.submit)
    submit_many = Verb(tasks.submit_many)
    get = Verb(tasks.get_task)
    wait = Verb(tasks.wait_for)
    watch = StreamVerb(tasks.watch)
    list = Verb(tasks.list_tasks)
    list_all = StreamVerb(tasks.all_tasks)
    cancel = Verb(tasks.cancel_task)
    redrive = Verb(tasks.redrive_task)
    explain = Verb(tasks.explain_task)
    attempts = Verb(tasks.task_attempts)
    overview = Verb(agents.system_overview)
    call = Verb(calls.call)


class _AgentVerbs:
    list = Verb(agents.list_agents)
    show = Verb(agents.show_agent)
    register = Verb(agents.register_agent)
    update = Verb(agents.update_agent)
    remove = Verb(agents.remove_agent)
    start = Verb(agents.start_agent)
    stop = Verb(agents.stop_agent)
    restart = Verb(agents.restart_agent)
    health = Verb(agents.report_health)
    statistics = Verb(agents.agent_statistics)
    number = Verb(agents.number_of)
    logs = Verb(agents.agent_logs)
    follow_logs = StreamVerb(agents.follow_agent_logs)
    why = Verb(agents.explain_agent)


class _TokenVerbs:
    create = Verb(tokens.create_token)
    list = Verb(tokens.list_tokens)
    revoke = Verb(tokens.revoke_token)


class _Agents(_AgentVerbs, Blocking):
    """Verbs about agents."""


class _Tokens(_TokenVerbs, Blocking):
    """Verbs about tokens."""


class _AsyncAgents(_AgentVerbs, Awaiting):
    """Verbs about agents."""


class _AsyncTokens(_TokenVerbs, Awaiting):
    """Verbs about tokens."""


class Client(_TaskVerbs, Blocking):
    """A server's client that blocks; safe to share between threads. Use it in a `with` or call `close`.

    `url` and `token` default to the environment and the saved credentials; raises `Misconfigured` without a
    token.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        from workstation_sdk.client.senders import Sender

        self._http = Sender(find_server(url, token))
        super().__init__(self._http)
        self.agents = _Agents(self._http)
        self.tokens = _Tokens(self._http)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncClient(_TaskVerbs, Awaiting):
    """A server's client for an event loop. Use it in an `async with` or await `close`.

    `url` and `token` default to the environment and the saved credentials; raises `Misconfigured` without a
    token.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        from workstation_sdk.client.senders import AsyncSender

        self._http = AsyncSender(find_server(url, token))
        super().__init__(self._http)
        self.agents = _AsyncAgents(self._http)
        self.tokens = _AsyncTokens(self._http)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
