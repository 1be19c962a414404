"""The faults there are: what each breaks, how long it lasts, and what it does to the bounds of recovery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is broken; one of each kind at a time."""

    SERVER = "server"
    AGENT = "agent"


@dataclass(frozen=True)
class Fault:
    """short and long: its seconds in short and long runs; calm: seconds after it in which recovery is watched.

    replicas: how many it needs. outage: whether tasks may stop flowing for all, by design.
    """

    kind: Kind
    short: float
    long: float
    calm: float
    replicas: int = 1
    outage: bool = True
    long_from: float = 85


# The writes of which an orchestrator is made to die, right before or right after their commit.
CRASH_POINTS = tuple(
    f"{write}.{side}"
    for write in ("submit", "claim", "complete", "settle", "hello", "progress", "cancel", "redrive", "reap", "lease")
    for side in ("before_commit", "after_commit")
)
# Each tenth answer to these commits is lost with its connection.
LOST_ANSWERS = ";".join(f"{write}.after_commit=cut@10%" for write in ("submit", "claim", "complete", "settle", "hello"))

FAULTS = {
    "orchestrator-kill": Fault(Kind.SERVER, 0, 0, 9),
    "orchestrator-crash-point": Fault(Kind.SERVER, 6, 6, 9),
    "commit-answers-lost": Fault(Kind.SERVER, 6, 12, 9),
    "orchestrator-freeze": Fault(Kind.SERVER, 5, 20, 9),
    "orchestrator-terminate": Fault(Kind.SERVER, 0, 0, 9),
    "backend-kill": Fault(Kind.SERVER, 0, 0, 6),
    "postgres-restart": Fault(Kind.SERVER, 0, 0, 9),
    "postgres-kill": Fault(Kind.SERVER, 0, 0, 9),
    "postgres-stop": Fault(Kind.SERVER, 10, 60, 11),
    "postgres-full-disk": Fault(Kind.SERVER, 5, 10, 10),
    "database-cut": Fault(Kind.SERVER, 0, 0, 6),
    "database-black-hole": Fault(Kind.SERVER, 6, 15, 11),
    "replica-down": Fault(Kind.SERVER, 6, 12, 6, replicas=2, outage=False),
    "replica-freeze": Fault(Kind.SERVER, 8, 25, 6, replicas=2, outage=False),
    "agent-kill": Fault(Kind.AGENT, 0, 0, 5, outage=False),
    "agent-freeze": Fault(Kind.AGENT, 19, 22, 3, outage=False),
    "agent-crash-loop": Fault(Kind.AGENT, 5, 8, 4, outage=False),
    "slow-consumer": Fault(Kind.AGENT, 8, 15, 2, outage=False),
    "reconnect-herd": Fault(Kind.AGENT, 0, 0, 3, outage=False),
    "client-cut": Fault(Kind.AGENT, 0, 0, 2, outage=False),
}
