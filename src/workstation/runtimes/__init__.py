"""Runtime drivers: how a copy of an agent is started, found again and stopped."""
