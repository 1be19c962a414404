"""The agent's side over plain HTTP: the words of the agent protocol, one task at a time."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Raw

from workstation.api.gateway.frames import AttemptError, Held, Number, TaskItem, Uuid
from workstation.api.schemas.common import JsonObject

Holding: TypeAlias = Annotated[list[Held], Meta(max_length=10_000, description="What the instance works on")]


class ClaimBody(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for work. Without instance one is made; it stands for this start of your process."""

    instance: Uuid | None = None
    slots: Annotated[int, Meta(ge=1, le=1000, description="How many tasks this claim may return")]
    wait_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    holding: Holding | None = None


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks to do, none after the wait."""

    instance: str
    lease_ms: int
    heartbeat_ms: int
    tasks: list[TaskItem]


class HeartbeatBody(msgspec.Struct, frozen=True, kw_only=True):
    """Still here."""

    instance: Uuid
    health_status: Literal["healthy", "degraded", "unhealthy"] | None = msgspec.field(name="healthStatus", default=None)
    metadata: JsonObject | None = None
    holding: Holding | None = None


class Beat(msgspec.Struct, frozen=True):
    """The lease is renewed for so long; stop working on the tasks in cancel."""

    lease_ms: int
    cancel: list[str]


class ProgressBody(msgspec.Struct, frozen=True, kw_only=True):
    """How far an attempt has come. data is what the next attempt starts with."""

    instance: Uuid
    attempt: Number
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    message: Annotated[str, Meta(max_length=10_000)] | None = None
    data: Raw | None = None


class CompleteBody(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt is done; result is any JSON up to 1 MiB."""

    instance: Uuid
    attempt: Number
    result: Raw
    usage: Raw | None = None


class FailBody(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt has failed; it may be tried again unless retryable is false."""

    instance: Uuid
    attempt: Number
    error: AttemptError


class ReleaseBody(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt is given back unharmed: no retry is charged."""

    instance: Uuid
    attempt: Number


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the task stands now; run_at when it may be claimed again."""

    status: Literal["completed", "failed", "pending", "cancelled", "running"]
    run_at: str | None = None
