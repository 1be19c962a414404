"""Opening one socket to the server: its address, and what a refusal or a close code means."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from workstation_sdk.environment import Server
from workstation_sdk.errors import (
    NotAllowed,
    NotFound,
    ProtocolMismatch,
    Unauthenticated,
    Unreachable,
    WorkstationError,
)
from workstation_sdk.protocol import FRAME_LIMIT

DEAD_INSTANCE = 4409
OPEN_SECONDS = 5.0
OPEN_SECONDS_OF_SEVERAL = 2.0
"""Where there are others to go to, one that does not answer is not waited for as long."""
PING_SECONDS = 5.0

_FINAL: dict[int, tuple[type[WorkstationError], str]] = {
    4400: (ProtocolMismatch, "the server does not speak this agent protocol: update the SDK or the server"),
    4401: (
        Unauthenticated,
        "the token is missing, wrong, expired or revoked: set WORKSTATION_TOKEN to a fresh one",
    ),
    4403: (
        NotAllowed,
        "the token is for another agent: make one with `workstation token create --role agent`",
    ),
    4404: (NotFound, "there is no such agent: register it, or correct WORKSTATION_AGENT_ID"),
}
_CLOSE_CODE_OF: dict[int, int] = {
    HTTPStatus.BAD_REQUEST: 4400,
    HTTPStatus.UNAUTHORIZED: 4401,
    HTTPStatus.FORBIDDEN: 4403,
    HTTPStatus.NOT_FOUND: 4404,
    HTTPStatus.UPGRADE_REQUIRED: 4400,
}


def final_error(close_code: int | None, reason: str | None = None) -> WorkstationError | None:
    """Return why there is no point in coming back, with the server's own reason, or None where there is."""
    if close_code not in _FINAL:
        return None
    kind, message = _FINAL[close_code]
    return kind(f"{message} (the server says: {reason})" if reason else message, code=str(close_code))


async def open_socket(server: Server, agent_id: str, *, within: float = OPEN_SECONDS) -> ClientConnection:
    """Connect to one address; raises the final error of a refusal, or `Unreachable` when it may work later."""
    path = f"/api/agents/{quote(agent_id, safe='')}/connect"
    headers = {"Authorization": f"Bearer {server.token}"}
    try:
        if server.socket_path:
            return await unix_connect(
                server.socket_path,
                f"ws://localhost{path}",
                additional_headers=headers,
                **_options(within, local=True),
            )
        return await connect(
            _socket_url(server.base, path), additional_headers=headers, **_options(within, local=server.is_local)
        )
    except InvalidStatus as error:
        code = _CLOSE_CODE_OF.get(error.response.status_code)
        raise final_error(code) or _unreachable(server, error) from error
    except (OSError, InvalidHandshake, EOFError) as error:
        raise _unreachable(server, error) from error


def _options(within: float, *, local: bool) -> dict[str, Any]:
    return {
        "compression": None,
        "max_size": FRAME_LIMIT,
        "open_timeout": within,
        "close_timeout": 1.0,
        "ping_interval": PING_SECONDS,
        "ping_timeout": PING_SECONDS,
        "proxy": None if local else True,
    }


def _socket_url(base: str, path: str) -> str:
    parts = urlsplit(base)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, "", ""))


def _unreachable(server: Server, error: Exception) -> Unreachable:
    return Unreachable(f"no server answers at {server.url} ({error}): is it up?")
