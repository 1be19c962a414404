"""Query strings into structs."""

from __future__ import annotations

from types import UnionType
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec

from workstation.api.bodies import camel, failed, problem
from workstation.domain.errors import FieldProblem, ValidationFailed

S = TypeVar("S", bound=msgspec.Struct)
_MAX_PARAMETERS: Final = 50
_MAX_BYTES: Final = 8192


class QueryReader(Generic[S]):
    """Reads query strings into one struct type, all of whose fields have defaults. Unknown names are refused."""

    def __init__(self, struct: type[S]) -> None:
        self._struct = struct
        self._default = struct()
        self._fields: dict[str, tuple[str, Any]] = {}
        for field in msgspec.structs.fields(struct):
            for name in (field.name, camel(field.name), field.encode_name):
                self._fields[name] = (field.name, _without_none(field.type))

    def read(self, query: bytes) -> S:
        """The struct of a query string as it came. Raises ValidationFailed."""
        if not query:
            return self._default
        values: dict[str, Any] = {}
        problems: list[FieldProblem] = []
        for name, text in _pairs(query):
            known = self._fields.get(name)
            if known is None:
                problems.append(FieldProblem(name[:100], "is no parameter of this path"))
                continue
            field, type_ = known
            if field in values:
                problems.append(FieldProblem(name, "is given twice"))
            if "\0" in text:
                problems.append(FieldProblem(name, "holds the character NUL"))
            try:
                values[field] = msgspec.convert(text, type_, strict=False)
            except msgspec.ValidationError as error:
                values[field] = None
                problems.append(problem(name, error))
        if problems:
            raise failed(problems)
        return self._struct(**values)


def _without_none(type_: Any) -> Any:
    """Leaving a parameter out is what None means; the word null means nothing."""
    options = tuple(option for option in get_args(type_) if option is not type(None))
    if len(options) == len(get_args(type_)) or get_origin(type_) not in (Union, UnionType):
        return type_
    return Union[options]  # noqa: UP007 the options are not known before


def _pairs(query: bytes) -> list[tuple[str, str]]:
    if len(query) > _MAX_BYTES:
        raise ValidationFailed(f"The query string is longer than {_MAX_BYTES} bytes; shorten it.")
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise ValidationFailed(
            f"The query string is not percent-encoded UTF-8 with at most {_MAX_PARAMETERS} parameters."
        ) from error
