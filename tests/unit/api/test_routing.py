"""Paths to routes."""

import pytest

from workstation.api.call import Call, Reply
from workstation.api.errors import MethodNotAllowed
from workstation.api.routes.table import ROUTES
from workstation.api.routing import Route, Router
from workstation.api.rules import OPEN
from workstation.domain.errors import NotFound


async def answer(call: Call) -> Reply:
    """Nothing."""
    return Reply(b"")


def route(method: str, path: str) -> Route:
    """A route that is open."""
    return Route(method, path, answer, OPEN, "x", "x", {200: "text/plain"})


router = Router(ROUTES)


@pytest.mark.parametrize(
    ("method", "path", "template", "values"),
    [
        ("GET", "/api/agents", "/api/agents", ()),
        ("GET", "/api/agents/tasks", "/api/agents/tasks", ()),
        ("POST", "/api/agents/tasks/batch", "/api/agents/tasks/batch", ()),
        ("GET", "/api/agents/system/overview", "/api/agents/system/overview", ()),
        ("GET", "/api/agents/system", "/api/agents/:id", ("system",)),
        ("GET", "/api/agents/7", "/api/agents/:id", ("7",)),
        ("GET", "/api/agents/7/tasks", "/api/agents/:id/tasks", ("7",)),
        ("GET", "/api/agents/tasks/7", "/api/agents/tasks/:id", ("7",)),
        ("HEAD", "/api/agents/tasks/7/explain/", "/api/agents/tasks/:id/explain", ("7",)),
    ],
)
def test_literal_segments_win_over_parameters(method: str, path: str, template: str, values: tuple[str, ...]) -> None:
    found, given = router.find(method, path)
    assert (found.path, given) == (template, values)


@pytest.mark.parametrize("path", ["", "/", "//", "/api", "/api/agents//tasks", "/api/agents/7/x", "/API/agents", "x"])
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        router.find("GET", path)
    assert router.methods(path) == ()


def test_another_method_is_told_which_ones_there_are() -> None:
    with pytest.raises(MethodNotAllowed) as refused:
        router.find("PUT", "/api/agents/7")
    assert refused.value.allowed == "DELETE, GET, HEAD, PATCH"


def test_a_route_in_the_table_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        Router([route("GET", "/a/:id"), route("GET", "/a/:number")])


def test_a_code_without_a_status_is_refused() -> None:
    with pytest.raises(ValueError, match="without a status"):
        Route("GET", "/a", answer, OPEN, "x", "x", {200: "text/plain"}, ("no_such_code",))


def test_operation_names_are_used_once() -> None:
    names = [route.handler.__name__ for route in ROUTES]
    assert len(names) == len(set(names))
