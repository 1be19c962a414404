"""`python -m workstation.agents NAME` runs one built-in agent until it is told to stop."""

import importlib
import sys

from workstation.agents.builtins import BUILTINS, Builtin, find_builtin
from workstation_sdk import Agent


def load_agent(builtin: Builtin) -> Agent:
    """Import the module of a built-in agent and return its `Agent`."""
    module_name, _, attribute = builtin.target.partition(":")
    agent = getattr(importlib.import_module(module_name), attribute)
    if not isinstance(agent, Agent):
        raise TypeError(f"{builtin.target} is not a workstation_sdk.Agent.")
    return agent


def main(arguments: list[str]) -> int:
    """Run the agent named by the only argument; 2 with a list of the names when there is no such agent."""
    builtin = find_builtin(arguments[0]) if len(arguments) == 1 else None
    if builtin is not None:
        load_agent(builtin).run()
    names = ", ".join(known.name for known in BUILTINS)
    asked = f"no built-in agent is called {arguments[0]!r}" if len(arguments) == 1 else "name one agent"
    print(f"python -m workstation.agents NAME: {asked}; there are {names}.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
