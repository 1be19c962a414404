"""The guarded HTTP client: every connection goes to an address the fetch policy has checked."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import httpcore
import httpx

from workstation.agents.fetch_policy import FetchPolicy, FetchRefused, split_url
from workstation_sdk import TaskFailed

USER_AGENT = "workstation-agent/0.1"
CONNECT_TIMEOUT_SECONDS = 10.0
IDLE_TIMEOUT_SECONDS = 30.0
REDIRECT_LIMIT = 10
RETRYABLE_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
META_CHARSET = re.compile(rb"<meta[^>]{0,200}charset=[\"']?\s*([a-zA-Z0-9_-]{1,40})", re.IGNORECASE)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only, redirects and re-connects included."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._policy = policy
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that answers; FetchRefused when none is permitted."""
        failure: Exception | None = None
        for address in await self._policy.resolve(host, port):
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        assert failure is not None, "resolve returns at least one address"
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Always FetchRefused: a socket file is this machine."""
        raise FetchRefused(f"Agents do not fetch from the socket file {path}; use an http or https URL.")

    async def sleep(self, seconds: float) -> None:
        """Wait, for httpcore's own retries."""
        await self._network.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """httpx on a pool whose network is a `GuardedBackend`; the environment's proxies are not used."""

    def __init__(self, policy: FetchPolicy) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=GuardedBackend(policy),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one hop of a request; raises what httpcore raises, and FetchRefused."""
        split_url(str(request.url))
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        response = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_BodyStream(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class _BodyStream(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()


def guarded_client(policy: FetchPolicy) -> httpx.AsyncClient:
    """An httpx client for outbound requests; redirects are followed, each hop checked anew."""
    return httpx.AsyncClient(
        transport=GuardedTransport(policy),
        headers={"user-agent": USER_AGENT},
        timeout=httpx.Timeout(IDLE_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        follow_redirects=True,
        max_redirects=REDIRECT_LIMIT,
        trust_env=False,
        default_encoding=_encoding_of,
    )


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response whose body was read up to a limit; `body` is shorter than the real one where `truncated`."""

    url: str
    status: int
    headers: httpx.Headers
    body: bytes
    truncated: bool
    elapsed_ms: int

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower case; empty when the server names none."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def text(self) -> str:
        """The body decoded by the charset of its header, else of its <meta>, else UTF-8."""
        match = re.search(r"charset=[\"']?([\w-]+)", self.headers.get("content-type", ""))
        try:
            return self.body.decode(match[1] if match else _encoding_of(self.body), "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")


async def fetch(
    client: httpx.AsyncClient,
    request: httpx.Request,
    *,
    limit: int,
    timeout: timedelta,
    follow_redirects: bool = True,
) -> Fetched:
    """Send `request` and read at most `limit` bytes of the decoded body within `timeout`.

    Raises FetchRefused and other TaskFailed with one sentence; an HTTP error status is a result.
    """
    started = time.monotonic()
    async with open_response(client, request, timeout=timeout, follow_redirects=follow_redirects) as response:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > limit:
                break
    elapsed_ms = round((time.monotonic() - started) * 1000)
    cut = bytes(body[:limit])
    return Fetched(str(response.url), response.status_code, response.headers, cut, len(body) > limit, elapsed_ms)


@asynccontextmanager
async def open_response(
    client: httpx.AsyncClient, request: httpx.Request, *, timeout: timedelta, follow_redirects: bool = True
) -> AsyncIterator[httpx.Response]:
    """The response to `request` with its body still unread; what is done inside counts into `timeout` too."""
    with network_failures(str(request.url), timeout):
        async with asyncio.timeout(timeout.total_seconds()):
            response = await client.send(request, stream=True, follow_redirects=follow_redirects)
            try:
                yield response
            finally:
                await response.aclose()


@contextmanager
def network_failures(url: str, timeout: timedelta) -> Iterator[None]:
    """Turn what httpx and httpcore raise into TaskFailed; retryable unless the request is at fault."""
    try:
        yield
    except (TimeoutError, httpcore.TimeoutException, httpx.TimeoutException) as error:
        name = "Timeout" if isinstance(error, TimeoutError) else type(error).__name__
        seconds = f"{timeout.total_seconds():g}"
        raise TaskFailed(f"{url} did not answer in time (within {seconds} s in all).", type=name) from error
    except (httpcore.LocalProtocolError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise TaskFailed(
            f"The request for {url} is not valid HTTP: {error}.", type="InvalidRequest", retryable=False
        ) from error
    except httpx.TooManyRedirects as error:
        message = f"{url} redirects more than {REDIRECT_LIMIT} times; ask for its final address."
        raise TaskFailed(message, type="TooManyRedirects", retryable=False) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError) as error:
        reason = str(error) or "the connection was closed"
        raise TaskFailed(f"{url} could not be fetched: {reason}.", type=type(error).__name__) from error


def build_request(client: httpx.AsyncClient, method: str, url: str, **options: object) -> httpx.Request:
    """An httpx request; TaskFailed (not retryable) when method, URL or headers cannot be one."""
    split_url(url)
    try:
        return client.build_request(method.upper(), url, **options)  # type: ignore[arg-type]  # httpx checks
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise TaskFailed(
            f"The request for {url!r} is not valid: {error}.", type="InvalidRequest", retryable=False
        ) from error


def refuse_error_status(url: str, status: int, retry_after: str | None = None) -> None:
    """Raise TaskFailed (HttpError) for a status of 400 and above; retryable for those that may pass."""
    if status < 400:
        return
    retryable = status in RETRYABLE_STATUS
    wait = timedelta(seconds=min(int(retry_after), 300)) if retry_after and retry_after.isdigit() else None
    raise TaskFailed(
        f"{urlsplit(url)._replace(query='', fragment='').geturl()} answered with HTTP status {status}.",
        type="HttpError",
        retryable=retryable,
        retry_after=wait if retryable else None,
    )


def _encoding_of(body: bytes) -> str:
    match = META_CHARSET.search(body[:2048])
    return str(match[1], "ascii") if match else "utf-8"
