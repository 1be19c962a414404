"""Composition: settings, embedded PostgreSQL, wiring and the life of the process."""
