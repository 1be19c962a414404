"""Ids as types of their own, so that a task's number is never taken for an agent's."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

TaskId = NewType("TaskId", int)
AgentId = NewType("AgentId", int)
InstanceId = NewType("InstanceId", UUID)
LaunchId = NewType("LaunchId", UUID)
NodeId = NewType("NodeId", UUID)
