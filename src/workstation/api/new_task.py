"""From the body of a request to the task it asks for."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

import msgspec

from workstation.api import ids
from workstation.api.errors import wrong
from workstation.api.schemas.tasks import CreateTask
from workstation.domain import tasks
from workstation.domain.errors import Conflict, TooLarge
from workstation.domain.tasks import NewTask

_MIN_TIMEOUT_MS: Final = int(tasks.MIN_TIMEOUT.total_seconds() * 1000)
_MAX_TIMEOUT_MS: Final = int(tasks.MAX_TIMEOUT.total_seconds() * 1000)
_DEFAULT_TIMEOUT_MS: Final = int(tasks.DEFAULT_TIMEOUT.total_seconds() * 1000)
_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


def new_task(
    asked: CreateTask, payload: dict[str, Any], created_by: str, key: str | None, max_payload: int, at: str = ""
) -> NewTask:
    """The task of one (part of a) body; payload is its payload as plain values, at the path of the part.

    key is the idempotency key from the header. Raises ValidationFailed and TooLarge.
    """
    text = bytes(asked.payload).decode()
    if len(text) > max_payload:
        raise TooLarge(f"The payload is over {max_payload} bytes; pass a reference to the data instead.")
    if (asked.agent_id is None) == (asked.capability is None):
        raise wrong(f"{at}agentId", "must be given, or a capability instead of it")
    if key is not None and asked.idempotency_key not in (None, key):
        raise Conflict("idempotency_key and the Idempotency-Key header differ; send one of them.")
    key = asked.idempotency_key or key
    return NewTask(
        type=asked.type,
        payload=text,
        created_by=created_by,
        agent_id=None if asked.agent_id is None else ids.number(asked.agent_id, f"{at}agentId"),
        capability=asked.capability,
        priority=tasks.DEFAULT_PRIORITY if asked.priority is None else asked.priority,
        max_retries=tasks.DEFAULT_MAX_RETRIES if asked.max_retries is None else asked.max_retries,
        timeout_ms=asked.timeout_ms or _timeout_in(payload),
        run_at=asked.run_at,
        region=asked.region,
        idempotency_key=key,
        request_hash=None if key is None else _hash(asked, payload),
    )


def _timeout_in(payload: dict[str, Any]) -> int:
    timeout = payload.get("timeout")
    if type(timeout) is int and _MIN_TIMEOUT_MS <= timeout <= _MAX_TIMEOUT_MS:
        return timeout
    return _DEFAULT_TIMEOUT_MS


def _hash(asked: CreateTask, payload: dict[str, Any]) -> bytes:
    """The same for requests that ask for the same, however they are spelled."""
    fields = msgspec.structs.asdict(asked)
    fields["agent_id"] = None if asked.agent_id is None else str(asked.agent_id)
    fields["payload"] = payload
    fields["idempotency_key"] = None
    return sha256(_CANONICAL.encode(fields)).digest()
