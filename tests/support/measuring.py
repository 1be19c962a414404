"""What tests measure: shown in the summary, and held against the promised bound."""

from __future__ import annotations

from collections.abc import Callable


class Measured:
    """Takes what a test measured: shown in the summary, and held against the promised bound."""

    def __init__(self, keep: Callable[[str, object], None]) -> None:
        self._keep = keep

    def __call__(self, what: str, seconds: float, bound: float) -> None:
        """Fails where it took longer than the bound."""
        self._keep("measured", f"{what}: {seconds:.2f} s (bound {bound:.0f} s)")
        assert seconds <= bound, f"{what} took {seconds:.2f} s, promised are {bound:.0f} s"
