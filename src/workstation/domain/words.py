"""Spans of time and sizes as people say them."""

from __future__ import annotations

from datetime import timedelta


def in_words(span: timedelta) -> str:
    """A span in the two largest units that matter: 4m12s, 3h05m, 12s, 0.4s."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 60:
        return f"{int(seconds)}s"
    if seconds < 3600:
        return f"{int(seconds) // 60}m{int(seconds) % 60:02d}s"
    if seconds < 86400:
        return f"{int(seconds) // 3600}h{int(seconds) % 3600 // 60:02d}m"
    return f"{int(seconds) // 86400}d{int(seconds) % 86400 // 3600:02d}h"


def size_in_words(size: float) -> str:
    """Bytes as people say them: 512 kB, 3.2 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
