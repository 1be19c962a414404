"""http-agent against a real server."""

import base64
import hashlib
import time

import pytest
from msgspec import UNSET
from tests.support.websites import Secret

from workstation.agents.http_agent import agent
from workstation_sdk.testing import run_task


async def test_a_request_returns_status_headers_body_and_json(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/echo", "headers": {"X-Test": "1"}, "unknown": True})
    result = outcome.result
    assert result["status"] == 200
    assert result["headers"]["content-type"] == "application/json"
    assert result["json"]["headers"]["x-test"] == "1"
    assert result["json"]["headers"]["user-agent"].startswith("workstation-agent/")
    assert result["body_encoding"] == "text"
    assert result["elapsed_ms"] >= 0
    assert result["truncated"] is False


async def test_a_json_body_is_posted(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/echo", "method": "post", "json": {"a": [1]}})
    assert outcome.result["json"]["method"] == "POST"
    assert outcome.result["json"]["body"] == '{"a":[1]}'


async def test_an_error_status_is_a_result(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/status/503"})
    assert outcome.result["status"] == 503


async def test_a_large_body_is_cut_and_says_so(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/bytes/400000"})
    assert outcome.result["truncated"] is True
    assert outcome.result["body_encoding"] == "base64"
    assert len(base64.b64decode(outcome.result["body"])) == 256 * 1024


async def test_a_packed_body_counts_unpacked(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/gzip"})
    assert outcome.result["truncated"] is True
    assert outcome.result["body"] == "y" * (256 * 1024)


async def test_text_that_json_makes_longer_still_fits(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/repeat/1/200000"})
    assert outcome.result["truncated"] is True
    assert set(outcome.result["body"]) == {"\1"}


async def test_a_nul_in_text_or_json_does_not_spoil_the_result(shop: str) -> None:
    text = await run_task(agent, "request", {"url": f"{shop}/repeat/0/3"})
    assert (text.result["body_encoding"], text.result["body"]) == ("base64", "AAAA")
    json = await run_task(agent, "request", {"url": f"{shop}/echo", "method": "POST", "body": "\0"})
    assert "json" not in json.result
    assert "NUL" in json.result["json_error"]


async def test_a_slow_answer_ends_at_the_timeout_in_milliseconds(shop: str) -> None:
    started = time.monotonic()
    outcome = await run_task(agent, "request", {"url": f"{shop}/slow?seconds=3", "timeout": 200})
    assert time.monotonic() - started < 2
    assert outcome.error is not None
    assert outcome.error.type == "Timeout"
    assert outcome.error.retryable is True


@pytest.mark.parametrize(
    "payload",
    [{"method": "GE T"}, {"headers": {"a b": "c"}}, {"json": 1, "body": "x"}, {"headers": {"x": "a\r\nb"}}],
)
async def test_a_request_that_is_not_http_is_refused_for_good(shop: str, payload: dict[str, object]) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/echo", **payload})
    assert outcome.error is not None
    assert outcome.error.type == "InvalidRequest"
    assert outcome.error.retryable is False


async def test_redirects_are_followed_to_allowed_places(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/redirect?to=/echo"})
    assert outcome.result["url"] == f"{shop}/echo"
    unfollowed = await run_task(agent, "request", {"url": f"{shop}/redirect?to=/echo", "follow_redirects": False})
    assert unfollowed.result["status"] == 302


async def test_a_redirect_loop_ends(shop: str) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/redirect?to=/redirect?to=/redirect"})
    assert outcome.error is not None or outcome.result["status"] >= 300


async def test_a_redirect_to_a_private_service_is_refused(shop: str, secret: Secret) -> None:
    outcome = await run_task(agent, "request", {"url": f"{shop}/redirect?to={secret.url}/admin"})
    assert outcome.error is not None
    assert outcome.error.type == "FetchRefused"
    assert outcome.error.retryable is False
    assert f"127.0.0.1:{secret.port}" in outcome.error.message
    assert "WORKSTATION_FETCH_ALLOW" in outcome.error.message
    assert secret.visits == []


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::1]:{port}/",
        "http://0.0.0.0:{port}/",
        "http://user:password@127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/",
    ],
)
async def test_a_private_destination_is_refused_however_it_is_written(shop: str, secret: Secret, url: str) -> None:
    for task in ("request", "download"):
        outcome = await run_task(agent, task, {"url": url.format(port=secret.port)})
        assert outcome.error is not None
        assert outcome.error.type == "FetchRefused"
        assert outcome.error.retryable is False
        assert "WORKSTATION_FETCH_ALLOW" in outcome.error.message
    assert secret.visits == []


async def test_an_octal_address_is_no_url(shop: str, secret: Secret) -> None:
    outcome = await run_task(agent, "request", {"url": f"http://0177.0.0.1:{secret.port}/"})
    assert outcome.error is not None
    assert outcome.error.type == "InvalidRequest"
    assert outcome.error.retryable is False
    assert secret.visits == []


async def test_a_download_tells_size_and_checksum_and_brings_small_files(shop: str) -> None:
    content = b"x" * 300_000
    outcome = await run_task(agent, "download", {"url": f"{shop}/bytes/300000"})
    assert outcome.result["size"] == 300_000
    assert outcome.result["sha256"] == hashlib.sha256(content).hexdigest()
    assert outcome.result["filename"] == "300000"
    assert base64.b64decode(outcome.result["content_base64"]) == content


async def test_a_large_download_has_its_checksum_and_progress_but_no_content(shop: str) -> None:
    outcome = await run_task(agent, "download", {"url": f"{shop}/bytes/5000000"})
    assert outcome.result["sha256"] == hashlib.sha256(b"x" * 5_000_000).hexdigest()
    assert outcome.result["content_base64"] is None
    assert any(report.percent and 0 < report.percent < 100 for report in outcome.progress)


async def test_a_download_over_the_limit_fails_for_good(shop: str) -> None:
    outcome = await run_task(agent, "download", {"url": f"{shop}/bytes/5000", "max_bytes": 4000})
    assert outcome.error is not None
    assert outcome.error.type == "TooLarge"
    assert outcome.error.retryable is False


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (503, True), (429, True)])
async def test_a_download_fails_with_the_status(shop: str, status: int, retryable: bool) -> None:
    outcome = await run_task(agent, "download", {"url": f"{shop}/status/{status}"})
    assert outcome.error is not None
    assert outcome.error.type == "HttpError"
    assert str(status) in outcome.error.message
    assert outcome.error.retryable is retryable
    assert outcome.error.retry_after_ms == (7000 if retryable else UNSET)


async def test_a_closed_port_is_a_failure_worth_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKSTATION_FETCH_ALLOW", "127.0.0.1:1")
    outcome = await run_task(agent, "request", {"url": "http://127.0.0.1:1/"})
    assert outcome.error is not None
    assert outcome.error.type == "ConnectError"
    assert outcome.error.retryable is True
