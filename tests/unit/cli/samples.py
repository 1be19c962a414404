"""What the API tells, as the command line gets it."""

from typing import Any

BORN = "2026-08-02T10:00:00Z"


def agent(number: int, name: str, **more: Any) -> dict[str, Any]:
    """An agent on the wire."""
    return {
        "id": str(number),
        "name": name,
        "type": "browser",
        "status": "running",
        "healthStatus": "healthy",
        "desired_status": "running",
        "capabilities": ["navigate", "click"],
        "health_metadata": None,
        "status_reason": None,
        "runtime": "process",
        **more,
    }


def task(number: int = 42, status: str = "completed", **more: Any) -> dict[str, Any]:
    """A task on the wire."""
    ended = status in ("completed", "failed", "cancelled")
    return {
        "id": str(number),
        "type": "scrape",
        "status": status,
        "agent_id": "1",
        "agent_name": "browser-1",
        "capability": None,
        "payload": {"url": "https://example.com"},
        "priority": 5,
        "result": {"title": "Example"} if status == "completed" else None,
        "error": {"message": "no such page", "type": "NotFound"} if status == "failed" else None,
        "progress": None,
        "attempt": 0 if status == "pending" else 1,
        "retry_count": 0,
        "max_retries": 3,
        "timeout_ms": 30_000,
        "dead_letter": status == "failed",
        "created_at": BORN,
        "run_at": BORN,
        "started_at": None,
        "completed_at": "2026-08-02T10:00:06.200000Z" if ended else None,
        **more,
    }


def running(percent: float, message: str) -> dict[str, Any]:
    """A running task that tells how far it is."""
    return task(status="running", progress={"percent": percent, "message": message})
