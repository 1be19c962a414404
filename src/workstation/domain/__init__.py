"""Frozen values, state machines as tables, pure decisions."""
