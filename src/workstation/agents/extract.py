"""From HTML to results: the one meaning of `selectors`, for rendered and for static pages alike."""

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from workstation.agents.bounds import fit_items, fit_text
from workstation_sdk import TaskFailed

Selectors = list[str] | dict[str, str]

HTML_LIMIT = 5 * 1024 * 1024
VALUE_LIMIT = 100_000
MATCH_LIMIT = 1_000
HEADING_LIMIT = 200
LINK_LIMIT = 1_000
TEXT_BYTES = 350_000
LINK_BYTES = 400_000
URL_LIMIT = 4_000
LABEL_LIMIT = 500

INVISIBLE = frozenset({"script", "style", "template", "noscript"})
INLINE = frozenset(
    {
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "label",
    }
    | {"mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr"}
)


class Document:
    """A parsed HTML document at a URL, read with CSS selectors."""

    def __init__(self, html: str, url: str) -> None:
        self._tree = LexborHTMLParser(html[:HTML_LIMIT])
        self._url = url
        base = self._tree.css_first("base[href]")
        self._base = urljoin(url, (base.attributes.get("href") or "") if base else "")

    @property
    def title(self) -> str | None:
        """The text of <title>, or None."""
        return self._first("title")

    def select(self, selectors: Selectors, *, every: bool = False) -> dict[str, object]:
        """The text of the first match of each selector; None where nothing matches.

        Keys are those of an object of selectors, or the selectors themselves where it is a list. With
        `every` each value is the list of the texts of all matches, empty where there are none.
        Raises TaskFailed InvalidSelector.
        """
        return {name: self._all(css) if every else self._first(css) for name, css in _named(selectors).items()}

    def summary(self) -> dict[str, object]:
        """What a page says when nobody asks for anything particular: url, title, headings, text, links."""
        body = self._tree.body
        text = visible_text(body) if body else ""
        headings = [visible_text(node) for node in self._css("h1, h2, h3")[:HEADING_LIMIT]]
        return {
            "url": self._url,
            "title": self.title,
            "headings": [heading[:LABEL_LIMIT] for heading in headings if heading],
            "text": fit_text(text[:VALUE_LIMIT], TEXT_BYTES)[0],
            "links": fit_links(self.links()),
        }

    def links(self) -> list[dict[str, str]]:
        """The distinct http and https links in document order as {"text", "href"}, href absolute."""
        found: dict[str, str] = {}
        for node in self._css("a[href]"):
            href = _absolute(self._base, node.attributes.get("href") or "")
            if href is not None and len(href) <= URL_LIMIT:
                found.setdefault(href, visible_text(node))
        return [{"text": text[:LABEL_LIMIT], "href": href} for href, text in found.items()]

    def _first(self, css: str) -> str | None:
        nodes = self._css(css)
        return visible_text(nodes[0])[:VALUE_LIMIT] if nodes else None

    def _all(self, css: str) -> list[str]:
        return [visible_text(node)[:VALUE_LIMIT] for node in self._css(css)[:MATCH_LIMIT]]

    def _css(self, css: str) -> list[LexborNode]:
        try:
            return self._tree.css(css)
        except SelectolaxError:
            raise invalid_selector(css) from None


def check_selectors(selectors: Selectors | None) -> None:
    """Raise TaskFailed InvalidSelector before a page is fetched for a selector that is not CSS."""
    if selectors is not None:
        Document("", "about:blank").select(selectors)


def invalid_selector(css: str) -> TaskFailed:
    """The refusal of a selector that is not CSS."""
    message = f"{css!r} is not a CSS selector; write one like h1, .price or div.card > a."
    return TaskFailed(message, type="InvalidSelector", retryable=False)


def fit_links(links: list[dict[str, str]]) -> list[dict[str, str]]:
    """As many of `links` as a result has room for."""
    return fit_items(links[:LINK_LIMIT], LINK_BYTES)


def is_complete(values: dict[str, object]) -> bool:
    """Whether every selector found something with text in it."""
    return all(values.values())


def found_nothing(values: dict[str, object]) -> bool:
    """Whether no selector found anything at all."""
    return not any(value is not None and value != [] for value in values.values())


def visible_text(node: LexborNode) -> str:
    """The text of `node` with white space collapsed; blocks are set apart, scripts and styles left out."""
    return " ".join("".join(_fragments(node)).split())


def _fragments(root: LexborNode) -> Iterator[str]:
    stack: list[LexborNode | str] = list(_children(root))
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
        elif node.tag == "-text":
            yield node.text_content or ""
        elif node.tag not in INVISIBLE and node.tag not in INLINE:
            yield " "
            stack += [" ", *_children(node)]
        elif node.tag in INLINE:
            stack += _children(node)


def _children(node: LexborNode) -> list[LexborNode]:
    return list(node.iter(include_text=True))[::-1]


def _named(selectors: Selectors) -> dict[str, str]:
    return selectors if isinstance(selectors, dict) else {css: css for css in selectors}


def _absolute(base: str, href: str) -> str | None:
    try:
        url = urlsplit(urljoin(base, href.strip()))
    except ValueError:
        return None
    return url._replace(fragment="").geturl() if url.scheme in ("http", "https") and url.netloc else None
