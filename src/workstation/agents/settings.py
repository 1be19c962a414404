"""The environment of the built-in agents: read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What a person can set for the built-in agents.

    `fetch_allow`: WORKSTATION_FETCH_ALLOW, private destinations to allow (CIDRs, hosts, host:port).
    `browser_path`: WORKSTATION_BROWSER, the Chromium to use instead of the one that would be found.
    """

    fetch_allow: str = ""
    browser_path: str | None = None


def read_settings(environ: Mapping[str, str] = os.environ) -> AgentSettings:
    """The settings in `environ`, the process's own environment unless another is given."""
    return AgentSettings(
        fetch_allow=environ.get("WORKSTATION_FETCH_ALLOW", ""),
        browser_path=environ.get("WORKSTATION_BROWSER") or None,
    )
