"""Any call of the API, for what has no verb of its own."""

from collections.abc import Mapping
from typing import Any

import msgspec

from workstation_sdk.client.asking import ask
from workstation_sdk.client.steps import Request, Talk


class _Answer(msgspec.Struct):
    data: Any = None


def call(
    method: str,
    path: str,
    *,
    query: Mapping[str, str] | None = None,
    body: object = None,
    timeout: float = 30.0,
    tries: int = 6,
) -> Talk[Any]:
    """Return the `data` of the answer as JSON values, exactly as the server told it; `timeout` is in seconds.

    `tries` is how often a call other than POST is made in all where the server is away for a moment.
    """
    request = Request(
        method,
        path,
        query or {},
        None if body is None else msgspec.json.encode(body),
        repeatable=method != "POST",
        timeout=timeout,
        tries=tries,
    )
    return (yield from ask(request, _Answer)).data
