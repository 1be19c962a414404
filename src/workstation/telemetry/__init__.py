"""Logs and measures behind one span()."""
