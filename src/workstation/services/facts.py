"""From what the database says of a waiting task to the facts an explanation is made of."""

from __future__ import annotations

import json
from collections.abc import Sequence

from workstation.domain.explain import Candidate, TaskFacts
from workstation.store.database import Row


def facts_of(row: Row, ahead: int) -> TaskFacts:
    """The task's own side of an explanation."""
    error = json.loads(row["error"]) if row["error"] is not None else {}
    return TaskFacts(
        task_id=row["id"],
        status=row["status"],
        type=row["type"],
        agent_id=row["agent_id"],
        capability=row["capability"],
        region=row["region"],
        attempt=row["attempt"],
        retry_count=row["retry_count"],
        max_retries=row["max_retries"],
        lost_count=row["lost_count"],
        due_for=row["due_for"],
        age=row["age"],
        ahead=ahead,
        last_error=error.get("message"),
    )


def candidates_of(rows: Sequence[Row]) -> list[Candidate]:
    """The agents that could take the task."""
    return [
        Candidate(
            agent_id=row["candidate_id"],
            name=row["candidate_name"],
            status=row["candidate_status"],
            status_reason=row["status_reason"],
            agent_gate=row["agent_gate"],
            task_gate=row["task_gate"],
            declares_type=row["task_types"] is None or row["type"] in json.loads(row["task_types"]),
            instances=row["instances"],
            in_region=row["in_region"],
            free_slots=int(row["slots"] - row["held"]),
            slots=int(row["slots"]),
            instances_with_suspect=row["suspects"],
        )
        for row in rows
        if row["candidate_id"] is not None
    ]
