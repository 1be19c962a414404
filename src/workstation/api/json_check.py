"""JSON that comes from outside: decoded once, and refused where PostgreSQL, or two readers of it, would stumble."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from workstation.domain.errors import FieldProblem, ValidationFailed

MAX_DEPTH: Final = 100

_DECODER: Final = msgspec.json.Decoder()
_ENCODER: Final = msgspec.json.Encoder()


def check(text: bytes) -> Any:
    """The document as plain Python values.

    Raises ValidationFailed for what is not JSON in UTF-8, lone surrogates, NUL, a key given twice in one object,
    nesting deeper than 100 levels, fractions beyond double precision and integers of over 4,300 digits.
    """
    try:
        document = _DECODER.decode(text)
    except UnicodeDecodeError as error:
        raise ValidationFailed("The body is not valid UTF-8; send JSON encoded in UTF-8.") from error
    except RecursionError as error:
        raise _too_deep() from error
    except msgspec.ValidationError as error:
        raise ValidationFailed(
            "The body holds a number that is too large; send numbers of more than 300 digits as strings."
        ) from error
    except msgspec.DecodeError as error:
        raise ValidationFailed(f"The body is not valid JSON ({error}); send a JSON document.") from error
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _is_deeper(document, MAX_DEPTH):
        raise _too_deep()
    again = _ENCODER.encode(document)
    # Every pair has a colon outside of strings, and strings keep theirs: fewer colons means a pair was dropped.
    colons = text.count(b":")
    if b"\\u" in text:
        colons += _check_escapes(text)
    if colons != again.count(b":"):
        raise _duplicate(text)
    return document


def _check_escapes(text: bytes) -> int:
    """The number of colons written as escapes. Raises ValidationFailed for a NUL."""
    escapes = text.replace(b"\\\\", b"")
    if b"\\u0000" in escapes:
        raise ValidationFailed("The body holds the character NUL (\\u0000), which cannot be stored; remove it.")
    return escapes.count(b"\\u003a") + escapes.count(b"\\u003A")


def _is_deeper(document: Any, levels: int) -> bool:
    layer = [document]
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) in (dict, list)
        ]
        if not layer:
            return False
    return True


def _too_deep() -> ValidationFailed:
    return ValidationFailed(f"The body is nested deeper than {MAX_DEPTH} levels; flatten it.")


def _duplicate(text: bytes) -> ValidationFailed:
    repeated: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in found:
            if key in seen:
                repeated.append(key)
            seen.add(key)

    json.loads(text, object_pairs_hook=pairs)
    problems = tuple(FieldProblem(key[:100], "is given twice in one object") for key in repeated[:10])
    return ValidationFailed("The body gives a key twice in one object; give each once.", problems)
