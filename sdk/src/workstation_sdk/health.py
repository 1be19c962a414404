"""What an agent says about its own health."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

HealthWord = Literal["healthy", "degraded", "unhealthy"]
HEALTH_WORDS: tuple[str, ...] = get_args(HealthWord)


class Health(msgspec.Struct, frozen=True):
    """A health word and any JSON object beside it, for example `Health("degraded", {"queue": 93})`."""

    status: HealthWord = "healthy"
    metadata: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        if self.status not in HEALTH_WORDS:
            raise ValueError(f"health is one of {', '.join(HEALTH_WORDS)}, not {self.status!r}")
