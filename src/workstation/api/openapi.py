"""The OpenAPI 3.1 document, made from the table of routes, so that what is served and what is documented agree."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from workstation.api.errors import STATUS_OF, ErrorBody
from workstation.api.routing import Route
from workstation.api.schemas.refined import REFINED

_REF: Final = "#/components/schemas/{name}"
_SUCCESS: Final[Mapping[int, str]] = {200: "Success", 201: "Created", 202: "Accepted"}
_HEADERS: Final[Mapping[str, Any]] = {
    "RequestId": {
        "description": "The id of this request: yours (`X-Request-Id`) or one made for it.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "Seconds after which to try again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimitLimit": {
        "description": "How many requests fit into the bucket.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimitRemaining": {
        "description": "How many are left in it.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimitReset": {
        "description": "Seconds until it is full again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Challenge": {"description": "Always a bearer token.", "schema": {"type": "string"}},
    "Allow": {"description": "The methods this path knows.", "schema": {"type": "string"}},
}
_LIMITS: Final = {
    "RateLimit-Limit": {"$ref": "#/components/headers/RateLimitLimit"},
    "RateLimit-Remaining": {"$ref": "#/components/headers/RateLimitRemaining"},
    "RateLimit-Reset": {"$ref": "#/components/headers/RateLimitReset"},
}
_RETRY: Final = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
_ALL: Final = {"X-Request-Id": {"$ref": "#/components/headers/RequestId"}}
_HEADERS_OF: Final[Mapping[int, Mapping[str, Any]]] = {
    401: {"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}},
    405: {"Allow": {"$ref": "#/components/headers/Allow"}},
    429: {**_RETRY, **_LIMITS},
    503: _RETRY,
}
_SAID_BY: Final[Mapping[str, str]] = {
    "validation_failed": "A field is missing, of the wrong type or out of range, or the body is not JSON.",
    "unauthenticated": "No token, or one that is malformed, expired, revoked or not ours.",
    "forbidden": "The token is good; its role may not do this.",
    "not_found": "There is no such thing, or you may not know of it.",
    "conflict": "Not allowed from the present state.",
    "lease_lost": "The attempt is not this instance's any more.",
    "too_large": "A body, payload or result over its limit.",
    "payload_invalid": "The payload does not fit the JSON Schema of its type.",
    "unknown_type": "The agent does not have this task type.",
    "rate_limited": "Too many requests.",
    "queue_full": "Too many pending tasks.",
    "runtime_failed": "The runtime driver could not do it.",
    "unavailable": "The database is away, or the server starts or goes down.",
}


def document(routes: Sequence[Route], version: str) -> dict[str, Any]:
    """The whole document."""
    schemas, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = re.sub(r":(\w+)", r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workstation",
            "version": version,
            "summary": "Agents, tasks and what happens to them.",
            "description": (
                "Ids are decimal strings. Request bodies take camelCase and snake_case names alike. Times are "
                "RFC 3339 in UTC. Every failure has the same shape, with a `code` to go by."
            ),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
        "security": [{"bearer": []}],
    }


def codes_of(route: Route) -> tuple[str, ...]:
    """Every code a route can refuse with: its own and the framework's."""
    codes = list(route.errors)
    if route.rule.needs_token:
        codes += ["unauthenticated", "forbidden", "rate_limited", "unavailable"]
    if route.query is not None or route.body is not None or route.parameters:
        codes.append("validation_failed")
    if route.body is not None:
        codes.append("too_large")
    return tuple(dict.fromkeys(sorted(codes, key=lambda code: STATUS_OF[code])))


def _schemas(routes: Iterable[Route]) -> tuple[dict[Any, Any], dict[str, Any]]:
    types: dict[Any, None] = {ErrorBody: None}
    for route in routes:
        for type_ in (route.body, *route.answers.values()):
            if type_ is not None and not isinstance(type_, str):
                types[type_] = None
    references, components = msgspec.json.schema_components(list(types), ref_template=_REF)
    for name, more in REFINED.items():
        if name in components:
            components[name].update(more)
    return dict(zip(types, references, strict=True)), components


def _operation(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    docstring = (route.handler.__doc__ or "").strip().split("\n\n")[0]
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "tags": [route.tag],
        "summary": route.summary,
        "description": " ".join(part for part in (docstring, route.description, route.rule.describe()) if part),
        "parameters": _parameters(route),
        "responses": {**_successes(route, schemas), **_failures(route, schemas)},
    }
    if route.body is not None:
        content: dict[str, Any] = {"schema": schemas[route.body]}
        if route.body_example:
            content["example"] = route.body_example
        operation["requestBody"] = {
            "required": route.body_needed,
            "content": {"application/json": content},
        }
    if not route.rule.needs_token:
        operation["security"] = []
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _path_schema(route, name)} for name in route.parameters
    ]
    if route.query is not None:
        ((_,), components) = msgspec.json.schema_components([route.query], ref_template=_REF)
        for name, schema in components[route.query.__name__]["properties"].items():
            found.append({"name": name, "in": "query", "schema": _without_null(schema)})
    found += [{"name": name, "in": "header", **said} for name, said in route.headers.items()]
    return found


def _path_schema(route: Route, name: str) -> dict[str, Any]:
    if route.tag == "tokens":
        return {"type": "string", "format": "uuid"}
    return {"type": "string", "pattern": "^[0-9]{1,19}$", "examples": ["1"]}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter cannot be null; leaving it out is what null means in the struct."""
    kept = {key: value for key, value in schema.items() if not (key == "default" and value is None)}
    options = [option for option in kept.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        del kept["anyOf"]
        return {**options[0], **kept}
    return {**kept, "anyOf": options} if options else kept


def _successes(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, type_ in route.answers.items():
        media = "application/json" if not isinstance(type_, str) else type_
        content: dict[str, Any] = {"schema": schemas[type_]} if not isinstance(type_, str) else {}
        if route.answer_example and not isinstance(type_, str):
            content["example"] = route.answer_example
        answers[str(status)] = {
            "description": _SUCCESS[status],
            "headers": {**_ALL, **(_LIMITS if route.limited and route.rule.needs_token else {})},
            "content": {media: content},
        }
    return answers


def _failures(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes_of(route):
        by_status.setdefault(STATUS_OF[code], []).append(code)
    return {
        str(status): {
            "description": " ".join(f"`{code}`: {_SAID_BY[code]}" for code in codes),
            "headers": {**_ALL, **_HEADERS_OF.get(status, {})},
            "content": {"application/json": {"schema": schemas[ErrorBody]}},
        }
        for status, codes in sorted(by_status.items())
    }
