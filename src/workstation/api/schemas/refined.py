"""Rules between the fields of a body, for the document: the code that enforces them stands where the body is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_ID: Final = {"type": ["string", "integer"]}
_NULL: Final = {"type": "null"}

REFINED: Final[Mapping[str, Mapping[str, Any]]] = {
    "CreateTask": {
        "oneOf": [
            {"required": ["agentId"], "properties": {"agentId": _ID, "capability": _NULL}},
            {"required": ["capability"], "properties": {"capability": {"type": "string"}, "agentId": _NULL}},
        ]
    },
    "IssueToken": {
        "oneOf": [
            {"required": ["agentId"], "properties": {"role": {"const": "agent"}, "agentId": _ID}},
            {"properties": {"role": {"not": {"const": "agent"}}, "agentId": _NULL}},
        ]
    },
}
