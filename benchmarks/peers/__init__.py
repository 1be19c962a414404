"""The peers: one program each, and their table."""
