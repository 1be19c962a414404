"""The test kit: run one task without a server, or a whole agent against a fake one."""

from workstation_sdk.testing.fake_server import Connection, FakeServer
from workstation_sdk.testing.single import TestOutcome, run_task

__all__ = ["Connection", "FakeServer", "TestOutcome", "run_task"]
