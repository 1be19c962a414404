"""Bugs planted where agents come, stay, are given work and go."""

from __future__ import annotations

from tests.chaos.plants.plant import Edit, Options, Plant
from tests.chaos.plants.queue import DATABASE, TASKS_SQL

REAPER = "src/workstation/engine/reaper.py"
SOCKET = "src/workstation/api/gateway/socket.py"

PLANTS = (
    Plant(
        "reaper-takes-from-the-living",
        "the reaper takes back what runs, whether its instance lives or not",
        (
            Edit(
                TASKS_SQL,
                "where n.id is null and t.status = 'running'",
                "where t.status = 'running'",
                within="-- name: list_orphans\n",
            ),
        ),
        ("only who is gone loses tasks",),
        Options(seed=1, seconds=20),
    ),
    Plant(
        "reaper-does-not-wait",
        "right after an outage the reaper takes every lease for lapsed",
        (Edit(REAPER, "SETTLED_AFTER_SECONDS = 6.0", "SETTLED_AFTER_SECONDS = 0.0"),),
        test="tests/integration/engine/test_reaper.py",
    ),
    Plant(
        "lease-of-the-silent",
        "the lease of every connected instance is renewed, heard or not",
        (
            Edit(
                "src/workstation/dispatch/heartbeats.py",
                "if session.heard_at >= self._renewed_at]",
                "if session.heard_at >= 0]",
            ),
        ),
        ("who was silent too long comes back as another",),
        Options(seed=11, seconds=40, load="steady", faults=((9, "agent-freeze", 22, 0),)),
    ),
    Plant(
        "known-by-host-name",
        "an instance is known by its host, not by its start",
        (
            Edit(
                "sdk/src/workstation_sdk/chance.py",
                "return str(uuid.uuid4())",
                "return str(uuid.uuid5(uuid.NAMESPACE_DNS, __import__('os').environ.get('HOSTNAME', 'here')))",
            ),
        ),
        ("an attempt is given once", "losses are bounded and counted", "every task reaches a final state"),
        Options(seed=5, seconds=25, load="backlog", faults=((8, "agent-kill", 0, 0), (14, "agent-kill", 0, 1))),
    ),
    Plant(
        "not-sent-again-at-hello",
        "what an agent did not receive before its connection broke is not sent on the next one",
        (
            Edit(
                SOCKET,
                "        if missing := [claim for claim in held if (claim.task_id, claim.attempt) not in listed]:\n"
                "            self._outbox.tasks(missing)\n",
                "",
            ),
        ),
        test="tests/integration/gateway/test_hello.py",
    ),
    Plant(
        "holding-is-ignored",
        "a claim whose commit was not heard of is never delivered, whatever heartbeats say is held",
        (
            Edit(
                SOCKET,
                "        if shared or session.doubtful or listed - session.settling != set(session.held.items()):\n",
                "        if False:\n",
            ),
        ),
        ("what was never delivered does not run out of time",),
        Options(
            seed=13,
            seconds=25,
            load="steady",
            fail_points="submit.after_commit=cut@10%;claim.after_commit=cut@20%",
            timeout_ms=20_000,
        ),
    ),
    Plant(
        "outcome-dies-with-its-connection",
        "the SDK forgets a result that was not settled when its connection broke",
        (
            Edit(
                "sdk/src/workstation_sdk/reports.py",
                "        self._unsent = list(self.unsettled.values())\n",
                "        self.unsettled.clear()\n        self._unsent = []\n",
            ),
        ),
        ("a result is what the winning attempt reported", "every task reaches a final state"),
        Options(
            seed=14,
            seconds=25,
            load="steady",
            faults=((5, "orchestrator-kill", 0, 0), (12, "orchestrator-kill", 0, 0), (18, "orchestrator-kill", 0, 0)),
            fail_points="complete.before_commit=pause:0.6@50%",
            timeout_ms=20_000,
        ),
    ),
    Plant(
        "no-deadline",
        "a call of a database that does not answer waits for ever",
        (Edit(DATABASE, "HOT_DEADLINE: Final = timedelta(seconds=1.5)", "HOT_DEADLINE: Final = timedelta(hours=1)"),),
        ("without its database it refuses in time", "every task reaches a final state"),
        Options(seed=15, seconds=25, load="steady", faults=((5, "database-black-hole", 12, 0),)),
    ),
    Plant(
        "drain-gives-nothing-back",
        "an agent that is told to drain keeps what it cannot finish",
        (
            Edit(
                "sdk/src/workstation_sdk/staying_connected.py",
                "        worker.give_back()\n",
                "",
            ),
            Edit(
                "sdk/src/workstation_sdk/staying_connected.py",
                "        worker.abandon()\n",
                "",
            ),
        ),
        test="tests/unit/sdk/test_drain.py",
    ),
)
