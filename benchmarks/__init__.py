"""Measures the raw PostgreSQL limit, the peers and Workstation in one interleaved run on one machine."""
