"""scraper-agent on the example shop."""

import msgspec
import pytest
from tests.support.websites import Secret

from workstation.agents.extract import Document
from workstation.agents.scraper import agent, read_page
from workstation_sdk import TaskFailed
from workstation_sdk.testing import run_task

PRODUCT = {"title": "h1.product-title", "price": "span.price", "description": "div.description"}


async def test_an_object_of_selectors_gives_an_object_of_texts(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/products", "selectors": PRODUCT, "timeout": 30000})
    assert outcome.result == {
        "title": "Walnut Desk Lamp",
        "price": "$99.99",
        "description": "A lamp of oiled walnut with a warm light, made to be repaired.",
    }


async def test_a_list_of_selectors_gives_texts_by_selector_and_null_for_what_is_missing(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": shop, "selectors": ["h1", ".content", ".missing"]})
    assert outcome.result == {
        "h1": "The Shop",
        ".content": "Five things, none of which you can buy.",
        ".missing": None,
    }


async def test_without_selectors_the_page_is_summed_up(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/page1"})
    assert outcome.result["title"] == "Enamel Kettle · The Shop"
    assert outcome.result["headings"] == ["Enamel Kettle"]
    assert "Holds 1.2 litres" in outcome.result["text"]
    assert outcome.result["links"] == [{"text": "All products", "href": f"{shop}/"}]
    assert outcome.result["url"] == f"{shop}/page1/"
    assert outcome.result["status"] == 200


async def test_every_match_is_wanted(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": shop, "selectors": ["li", "b"], "every": True})
    assert len(outcome.result["li"]) == 5
    assert outcome.result["b"] == []


async def test_a_static_page_has_no_price_that_a_script_brings(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/offer/", "selectors": [".price"]})
    assert outcome.result == {".price": ""}


async def test_a_page_is_decoded_by_the_charset_it_declares(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/latin1", "selectors": ["h1"]})
    assert outcome.result == {"h1": "Crème"}


async def test_links_are_absolute_and_distinct(shop: str) -> None:
    outcome = await run_task(agent, "links", {"url": shop})
    hrefs = [link["href"] for link in outcome.result["links"]]
    assert hrefs == [f"{shop}/{path}/" for path in ("products", "page1", "page2", "page3", "offer", "order")]
    assert outcome.result["total"] == 6


async def test_links_of_the_same_host_alone_on_request(shop: str) -> None:
    html = '<a href="/a">A</a><a href="https://example.org/">B</a><a href="mailto:x@y">C</a><a href="/a#x">D</a>'
    outcome = await run_task(agent, "links", {"url": f"{shop}/page?html={html.replace('#', '%23')}", "same_host": True})
    assert outcome.result["links"] == [{"text": "A", "href": f"{shop}/a"}]


@pytest.mark.parametrize("selector", ["h1[", "", "::nonsense", ">>>"])
async def test_a_selector_that_is_not_css_is_refused_for_good(shop: str, selector: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": shop, "selectors": [selector]})
    assert outcome.error is not None
    assert outcome.error.type == "InvalidSelector"
    assert outcome.error.retryable is False


@pytest.mark.parametrize(("status", "retryable"), [(404, False), (500, True), (503, True)])
async def test_an_error_page_without_what_was_asked_for_fails(shop: str, status: int, retryable: bool) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/status/{status}", "selectors": PRODUCT})
    assert outcome.error is not None
    assert outcome.error.type == "HttpError"
    assert outcome.error.retryable is retryable


async def test_the_summary_of_a_missing_page_carries_its_status(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/status/404"})
    assert outcome.result["status"] == 404
    assert outcome.result["headings"] == ["An error"]


async def test_what_is_not_a_page_is_refused_for_good(shop: str) -> None:
    outcome = await run_task(agent, "scrape", {"url": f"{shop}/bytes/10"})
    assert outcome.error is not None
    assert outcome.error.type == "NotHtml"


async def test_a_redirect_to_a_private_service_is_refused(shop: str, secret: Secret) -> None:
    for task in ("scrape", "links"):
        outcome = await run_task(agent, task, {"url": f"{shop}/redirect?to={secret.url}/"})
        assert outcome.error is not None
        assert outcome.error.type == "FetchRefused"
        assert "WORKSTATION_FETCH_ALLOW" in outcome.error.message
    assert secret.visits == []


def test_text_sets_blocks_apart_and_keeps_inline_words_whole() -> None:
    html = "<div id=x>a<b>b</b>c<p>d</p>e<br>f<script>no()</script><style>no{}</style>\n g</div>"
    assert Document(html, "http://x/").select(["#x"]) == {"#x": "abc d e f g"}


def test_a_script_that_is_asked_for_is_given() -> None:
    html = '<script type="application/ld+json">{"price": 1}</script>'
    assert Document(html, "http://x/").select(["script"]) == {"script": '{"price": 1}'}


def test_a_base_element_moves_relative_links() -> None:
    html = '<base href="https://example.org/shop/"><a href="x">X</a><a href="http://[">bad</a>'
    assert Document(html, "http://x/").links() == [{"text": "X", "href": "https://example.org/shop/x"}]


def test_a_very_deep_page_is_read() -> None:
    html = "<div>" * 5000 + "deep" + "</div>" * 5000
    assert Document(html, "http://x/").select(["body"]) == {"body": "deep"}


async def test_a_result_too_large_for_a_task_fails_for_good(shop: str) -> None:
    html = "<p>" + "é" * 5000 + "</p>"
    page = Document(html * 200, f"{shop}/")
    with pytest.raises(TaskFailed, match="narrower selectors") as failure:
        read_page(page, shop, 200, ["p"], every=True)
    assert failure.value.retryable is False


def test_the_summary_of_a_huge_page_fits() -> None:
    html = "".join(f"<h2>{'h' * 900}</h2><a href='/{n}{'x' * 3000}'>{'t' * 900}</a>\1\1" for n in range(1500))
    summary = Document(html, "http://x/").summary()
    assert len(msgspec.json.encode(summary)) < 900_000
    assert summary["links"]
