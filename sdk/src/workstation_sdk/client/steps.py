"""What a client does, as values: a verb is a generator of steps, and a sender (sync or async) takes them."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

ORDINARY_TIMEOUT = 30.0

Item = TypeVar("Item")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `repeatable` says that sending it twice does what sending it once does."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    timeout: float = ORDINARY_TIMEOUT
    tries: int = 6


@dataclass(frozen=True, slots=True)
class Pause:
    """So many seconds to wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Lines:
    """A request whose answer is endless text: each line goes to who iterates, the end comes back as an `Answer`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Emit(Generic[Item]):
    """One item for who iterates."""

    item: Item


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; `failure` is set, and the status 0, when it could not be heard.

    `others` is how many other servers the next request could go to: the sender goes on to one by itself.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    failure: str = ""
    others: int = 0


Talk = Generator[Request | Pause, Answer | None, Value]
Stream = Generator[Request | Pause | Lines | Emit[Item], Answer | None, None]
Steps = Generator[Any, Answer | None, Value]
