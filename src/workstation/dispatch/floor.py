"""The sessions of this process and the lanes they serve: who could take what, and where there may be work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar
from uuid import UUID

from workstation.dispatch.roster import AgentView
from workstation.dispatch.session import Session

Key = TypeVar("Key")


def lanes_of(agent_id: int, capabilities: Iterable[str], region: str | None) -> frozenset[str]:
    """The lanes an instance serves: its agent's own and one for each capability, with and without its region."""
    plain = [f"a{agent_id}", *(f"c{capability}" for capability in capabilities)]
    return frozenset(plain if region is None else plain + [f"{lane}@{region}" for lane in plain])


class Floor:
    """Sessions by instance and by lane. A lane is marked when there may be work in it, until a look finds none."""

    def __init__(self) -> None:
        self._sessions: dict[UUID, Session] = {}
        self._by_agent: dict[int, set[Session]] = {}
        self._by_lane: dict[str, set[Session]] = {}
        self._marked: dict[str, int] = {}
        self._closed = False

    def close(self) -> None:
        """Nothing more is to be given to anybody here."""
        self._closed = True
        for session in self._sessions.values():
            session.open = False

    def is_closed(self) -> bool:
        """Whether this replica gives nothing more to anybody, for it goes down."""
        return self._closed

    def __iter__(self) -> Iterator[Session]:
        return iter(self._sessions.values())

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, instance_id: UUID) -> Session | None:
        """The session of an instance, if it is connected here."""
        return self._sessions.get(instance_id)

    def of_agent(self, agent_id: int) -> set[Session]:
        """The sessions of one agent."""
        return self._by_agent.get(agent_id, set())

    def in_lane(self, lane: str) -> set[Session]:
        """The sessions that serve a lane."""
        return self._by_lane.get(lane, set())

    def add(self, session: Session, agent: AgentView | None) -> None:
        """Let a session in; its lanes are marked, for nobody has looked there for it yet."""
        self._sessions[session.instance_id] = session
        self._by_agent.setdefault(session.agent_id, set()).add(session)
        self.place(session, agent)

    def remove(self, session: Session) -> None:
        """Take a session out; a newer session of the same instance stays."""
        if self._sessions.get(session.instance_id) is session:
            del self._sessions[session.instance_id]
        _discard(self._by_agent, session.agent_id, session)
        for lane in session.lanes:
            _discard(self._by_lane, lane, session)

    def place(self, session: Session, agent: AgentView | None) -> None:
        """Put a session into the lanes its agent serves now, open or closed as the registry says."""
        lanes = (
            lanes_of(agent.id, agent.capabilities, session.region or agent.region)
            if agent is not None
            else frozenset[str]()
        )
        for lane in session.lanes - lanes:
            _discard(self._by_lane, lane, session)
        for lane in lanes:
            self._by_lane.setdefault(lane, set()).add(session)
            self.mark(lane)
        session.lanes = lanes
        session.open = agent is not None and agent.open and not self._closed
        session.degraded = agent is not None and agent.health_status == "degraded"

    def mark(self, lane: str) -> None:
        """There may be work in a lane; lanes nobody here serves are not remembered."""
        if lane in self._by_lane:
            self._marked[lane] = self._marked.get(lane, 0) + 1

    def is_marked(self, lane: str) -> bool:
        """Whether there may be work in a lane."""
        return lane in self._marked

    def marks(self) -> dict[str, int]:
        """The marked lanes, each with a number that changes when it is marked again."""
        return dict(self._marked)

    def unmark(self, lane: str, seen: int) -> None:
        """A look found nothing more in a lane; it stays marked if it was marked again meanwhile."""
        if self._marked.get(lane) == seen:
            del self._marked[lane]


def _discard(index: dict[Key, set[Session]], key: Key, session: Session) -> None:
    sessions = index.get(key)
    if sessions is not None:
        sessions.discard(session)
        if not sessions:
            del index[key]
