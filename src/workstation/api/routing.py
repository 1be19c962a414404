"""The table of routes: what each is, and how a path finds its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from workstation.api.bodies import BodyReader
from workstation.api.errors import STATUS_OF, MethodNotAllowed
from workstation.api.queries import QueryReader
from workstation.api.rules import Rule
from workstation.domain.errors import NotFound

if TYPE_CHECKING:
    from workstation.api.call import Call, Reply, Stream

Handler: TypeAlias = "Callable[[Call], Awaitable[Reply | Stream]]"

KIB: Final = 1024
MIB: Final = 1024 * KIB


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One method of one path: who may call it, what goes in, what comes out.

    answers maps every success status to the struct of its body (or a media type for what is not JSON); errors are the
    codes the handler itself may refuse with: those of the framework (401, 403, 429, 503, 400 and 413 where something
    is read) are added where they apply. Where watched(call) holds, the handler is cancelled when
    the client goes away.
    """

    method: str
    path: str
    handler: Handler
    rule: Rule
    summary: str
    tag: str
    answers: Mapping[int, type[Any] | str]
    errors: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    body_needed: bool = True
    body_limit: int = MIB + 64 * KIB
    query: type[msgspec.Struct] | None = None
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    description: str = ""
    limited: bool = True
    watched: Callable[[Call], bool] | None = None
    audit: str | None = None
    body_example: Mapping[str, Any] = field(default_factory=dict)
    answer_example: Mapping[str, Any] = field(default_factory=dict)
    read_body: BodyReader[Any] | None = field(init=False, default=None)
    read_query: QueryReader[Any] | None = field(init=False, default=None)
    parameters: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Rule):
            raise TypeError(f"{self.method} {self.path} has no rule; say in api/rules.py who may call it.")
        if unknown := [code for code in self.errors if code not in STATUS_OF]:
            raise ValueError(f"{self.method} {self.path} names codes without a status: {', '.join(unknown)}.")
        if self.body is not None:
            object.__setattr__(self, "read_body", BodyReader(self.body))
        if self.query is not None:
            object.__setattr__(self, "read_query", QueryReader(self.query))
        names = tuple(segment[1:] for segment in self.path.split("/") if segment.startswith(":"))
        object.__setattr__(self, "parameters", names)

    @property
    def changes(self) -> bool:
        """Whether it is a verb that changes something."""
        return self.method != "GET"


class _Node:
    """One place in the tree of path segments."""

    __slots__ = ("below", "methods", "parameter")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.methods: dict[str, Route] = {}


class Router:
    """Finds the route of a method and a path. Literal segments win over parameters; a trailing slash is ignored."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._literal: dict[str, dict[str, Route]] = {}
        self._root = _Node()
        for route in self.routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path.split("/")[1:]:
            if segment.startswith(":"):
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.below.setdefault(segment, _Node())
        if route.method in node.methods:
            raise ValueError(f"{route.method} {route.path} is in the table twice; remove one.")
        node.methods[route.method] = route
        if route.method == "GET":
            node.methods["HEAD"] = route
        if not route.parameters:
            self._literal[route.path] = node.methods

    def find(self, method: str, path: str) -> tuple[Route, tuple[str, ...]]:
        """The route and the values of its parameters. Raises NotFound or MethodNotAllowed."""
        methods = self._literal.get(path)
        values: tuple[str, ...] = ()
        if methods is None:
            methods, values = self._walk(path)
        route = methods.get(method)
        if route is None:
            raise MethodNotAllowed(method, ", ".join(sorted(methods)))
        return route, values

    def methods(self, path: str) -> tuple[str, ...]:
        """The methods a path knows, none for an unknown path."""
        try:
            return tuple(sorted(self._literal.get(path) or self._walk(path)[0]))
        except NotFound:
            return ()

    def _walk(self, path: str) -> tuple[dict[str, Route], tuple[str, ...]]:
        found = _descend(self._root, path.removesuffix("/").split("/")[1:], ())
        if found is None:
            raise NotFound("There is nothing under this path; /docs lists what there is.")
        return found


def _descend(
    node: _Node, segments: list[str], values: tuple[str, ...]
) -> tuple[dict[str, Route], tuple[str, ...]] | None:
    """The methods at the end of these segments, and the values of parameters on the way; literals are tried first."""
    if not segments:
        return (node.methods, values) if node.methods else None
    segment, *rest = segments
    below = node.below.get(segment)
    found = None if below is None else _descend(below, rest, values)
    if found is None and node.parameter is not None and segment:
        return _descend(node.parameter, rest, (*values, segment))
    return found
