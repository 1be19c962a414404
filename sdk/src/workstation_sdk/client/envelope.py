"""The server's wrapping of every answer: `{"success": true, "data": …}`."""

from typing import Generic, TypeVar

import msgspec

Value = TypeVar("Value")


class Data(msgspec.Struct, Generic[Value]):
    """An answer with data."""

    data: Value


class Nothing(msgspec.Struct):
    """An answer that says no more than that it worked."""

    message: str = ""
