"""Talking to a server: tasks, agents and tokens, blocking or awaited."""
