"""A verb is described once; here it becomes a method that blocks or is awaited, as its owner does."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from workstation_sdk.client.steps import Steps, Stream

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")
Item = TypeVar("Item")


class BlockingSender(Protocol):
    """Takes steps in the calling thread."""

    def finish(self, steps: Steps[Value]) -> Value:
        """Take all steps and return what they come to."""

    def iterate(self, steps: Stream[Item]) -> Iterator[Item]:
        """Take the steps as they are asked for, and yield what they emit."""


class AwaitingSender(Protocol):
    """Takes steps on an event loop."""

    async def finish(self, steps: Steps[Value]) -> Value:
        """Take all steps and return what they come to."""

    def iterate(self, steps: Stream[Item]) -> AsyncIterator[Item]:
        """Take the steps as they are asked for, and yield what they emit."""


class Blocking:
    """Owner of verbs that block."""

    def __init__(self, sender: BlockingSender) -> None:
        self._sender = sender


class Awaiting:
    """Owner of verbs that are awaited."""

    def __init__(self, sender: AwaitingSender) -> None:
        self._sender = sender


class Verb(Generic[Arguments, Value]):
    """A method that returns one value."""

    def __init__(self, describe: Callable[Arguments, Steps[Value]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: Blocking, kind: object = None) -> Callable[Arguments, Value]: ...

    @overload
    def __get__(self, owner: Awaiting, kind: object = None) -> Callable[Arguments, Coroutine[Any, Any, Value]]: ...

    def __get__(self, owner: Any, kind: object = None) -> Any:
        return self if owner is None else _bound(self._describe, owner._sender.finish)


class StreamVerb(Generic[Arguments, Item]):
    """A method that returns an iterator."""

    def __init__(self, describe: Callable[Arguments, Stream[Item]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, owner: Blocking, kind: object = None) -> Callable[Arguments, Iterator[Item]]: ...

    @overload
    def __get__(self, owner: Awaiting, kind: object = None) -> Callable[Arguments, AsyncIterator[Item]]: ...

    def __get__(self, owner: Any, kind: object = None) -> Any:
        return self if owner is None else _bound(self._describe, owner._sender.iterate)


def _bound(describe: Callable[..., Any], take: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(describe)
    def method(*args: Any, **kwargs: Any) -> Any:
        return take(describe(*args, **kwargs))

    return method
