"""Frames of agents: what may be any JSON is taken as it is."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from workstation.api.gateway import frames, reports
from workstation.domain.tasks import OutcomeKind

INSTANCE = uuid4()


@pytest.mark.parametrize("usage", [{"tokens": 12}, "much", 3])
def test_usage_of_a_finished_attempt_is_any_json(usage: object) -> None:
    item = {"task": "1", "attempt": 1, "result": {"ok": True}, "usage": usage}
    frame = frames.read_frame(json.dumps({"kind": "done", "items": [item]}))
    assert isinstance(frame, frames.Done)
    (done,) = frame.items
    report = reports.completed(1, 1, INSTANCE, done.result, done.usage)
    assert report.usage is not None and json.loads(report.usage) == usage


@pytest.mark.parametrize("data", [{"page": 3}, [1, 2], "was here", 7, False])
def test_a_checkpoint_is_any_json(data: object) -> None:
    frame = frames.read_frame(json.dumps({"kind": "progress", "items": [{"task": "1", "attempt": 1, "data": data}]}))
    assert isinstance(frame, frames.Progress)
    kept = reports.progressed(frame.items[0], INSTANCE).data
    assert kept is not None and json.loads(kept) == data


@pytest.mark.parametrize("said", [{}, {"data": None}])
def test_progress_without_a_checkpoint_leaves_the_old_one(said: dict[str, None]) -> None:
    frame = frames.read_frame(json.dumps({"kind": "progress", "items": [{"task": "1", "attempt": 1, **said}]}))
    assert isinstance(frame, frames.Progress)
    assert reports.progressed(frame.items[0], INSTANCE).data is None


def test_an_attempt_that_its_agent_stopped_for_its_timeout_has_timed_out() -> None:
    late = reports.failed(1, 1, INSTANCE, frames.AttemptError("too late", "timed_out"))
    assert late.kind is OutcomeKind.TIMED_OUT
    assert reports.failed(1, 1, INSTANCE, frames.AttemptError("broken")).kind is OutcomeKind.FAILED
