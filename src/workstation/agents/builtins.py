"""The table of built-in agents: what the registry is seeded with, and where the code of each is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Builtin:
    """One agent that ships: what the registry is seeded with and where its code is."""

    name: str
    agent_name: str
    type: str
    capabilities: tuple[str, ...]
    target: str
    default_on: bool = True


# The order is the registry's: a fresh database numbers them 1, 2, 3 …
BUILTINS: tuple[Builtin, ...] = (
    Builtin(
        name="browser",
        agent_name="browser-automation-agent",
        type="browser",
        capabilities=("navigate", "click", "fill", "scrape", "screenshot"),
        target="workstation.agents.browser:agent",
    ),
    Builtin(
        name="http",
        agent_name="http-agent",
        type="http",
        capabilities=("request", "download"),
        target="workstation.agents.http_agent:agent",
    ),
    Builtin(
        name="scraper",
        agent_name="scraper-agent",
        type="web",
        capabilities=("scrape", "links"),
        target="workstation.agents.scraper:agent",
    ),
    Builtin(
        name="code",
        agent_name="code-runner",
        type="code",
        capabilities=("run",),
        target="workstation.agents.code_runner:agent",
    ),
)


def find_builtin(name: str) -> Builtin | None:
    """The built-in agent called `name` (its short or its agent name), or None."""
    return next((builtin for builtin in BUILTINS if name in (builtin.name, builtin.agent_name)), None)
