"""Shapes that every noun shares."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")

# A number is taken as well as its decimal string; answers always give the string.
Id: TypeAlias = (
    Annotated[str, Meta(pattern="^[0-9]{1,19}$", description="A number as a decimal string")]
    | Annotated[int, Meta(ge=0, le=2**63 - 1)]
)
JsonObject: TypeAlias = Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"}, extra={"object": True})]
PageLimit: TypeAlias = Annotated[int, Meta(ge=1, le=1000, description="How many at most")]
NumberCursor: TypeAlias = Annotated[str, Meta(pattern="^[0-9]{1,19}$", description="`next` of the page before")]


class Data(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Success with what was asked for."""

    success: Literal[True] = True
    data: T


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Success in one sentence."""

    success: Literal[True] = True
    message: str


class Nothing(msgspec.Struct, frozen=True):
    """An empty object."""
