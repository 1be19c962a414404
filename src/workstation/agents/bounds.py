"""Keeping results within what a task may carry: 1 MiB of JSON, and no NUL in it."""

from typing import TypeVar

import msgspec

from workstation_sdk import TaskFailed

RESULT_LIMIT = 900_000

Item = TypeVar("Item")


def fit_text(text: str, limit: int) -> tuple[str, bool]:
    """The start of `text` whose JSON takes at most `limit` bytes, NULs replaced; and whether it was cut."""
    fitted = text.replace("\0", "\ufffd")
    while (size := len(msgspec.json.encode(fitted))) > limit:
        fitted = fitted[: len(fitted) * limit // size - 1]
    return fitted, len(fitted) < len(text)


def fit_items(items: list[Item], limit: int) -> list[Item]:
    """The first of `items` that together take at most `limit` bytes of JSON."""
    kept, size = 0, 0
    for item in items:
        size += len(msgspec.json.encode(item)) + 1
        if size > limit:
            break
        kept += 1
    return items[:kept]


def check_size(result: dict[str, object]) -> dict[str, object]:
    """`result` as it is; TaskFailed ResultTooLarge when it is more than a task may carry."""
    size = len(msgspec.json.encode(result))
    if size > RESULT_LIMIT:
        message = f"The result takes {size} of {RESULT_LIMIT} bytes; ask for less with narrower selectors."
        raise TaskFailed(message, type="ResultTooLarge", retryable=False)
    return result
