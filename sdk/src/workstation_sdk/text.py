"""Text that any server can take: no lone surrogates, no NUL, not too long."""

MESSAGE_LIMIT = 8_000


def sendable(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return the text with what JSON in a database cannot hold replaced, and cut to so many characters."""
    cut = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return cut.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
