"""Request bodies into structs: every wrong field told at once, under its name on the wire."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar, get_args, get_origin

import msgspec

from workstation.api import json_check
from workstation.domain.errors import FieldProblem, ValidationFailed

S = TypeVar("S", bound=msgspec.Struct)
Reader = Callable[[msgspec.Raw], Any]

_MAX_EXACT: Final = 2.0**53
_MAYBE_FRACTION: Final = frozenset(b".eE")
_AT: Final = re.compile(r" - at `\$(.*)`$")
_RAW_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def camel(name: str) -> str:
    """max_retries → maxRetries."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class BodyReader(Generic[S]):
    """Reads JSON objects into one struct type.

    camelCase and snake_case names mean the same; names it does not know are ignored.
    """

    def __init__(self, struct: type[S]) -> None:
        self._struct = struct
        self._decode = msgspec.json.Decoder(struct).decode
        self._names: dict[str, tuple[str, Reader]] = {}
        self._required: dict[str, str] = {}
        self._objects: list[tuple[str, bool]] = []
        self._lists: list[tuple[str, BodyReader[msgspec.Struct]]] = []
        fields = msgspec.structs.fields(struct)
        for field in fields:
            read = _reader(field.type)
            for name in (field.name, camel(field.name), field.encode_name):
                self._names[name] = (field.name, read)
            if field.required:
                self._required[field.name] = field.encode_name
            if isinstance(read, _ListReader):
                self._lists.append((field.encode_name, read.items))
            elif _is_raw(field.type) and _holds_object(field.type):
                self._objects.append((field.encode_name, type(None) in get_args(field.type)))
        self._other_names = self._names.keys() - {field.encode_name for field in fields}

    def read(self, body: bytes) -> tuple[S, Any]:
        """The struct, and the whole document as plain values. Raises ValidationFailed."""
        document = json_check.check(body)
        if type(document) is not dict:
            raise ValidationFailed("The body must be a JSON object.")
        if self._is_plain(document):
            try:
                return self._decode(body), document
            except msgspec.ValidationError:
                # Field by field finds everything that is wrong, and forgives more.
                pass
        problems: list[FieldProblem] = []
        struct = self.collect(_RAW_OBJECT.decode(body), "", problems)
        if struct is None:
            raise failed(problems)
        return struct, document

    def _is_plain(self, document: Any) -> bool:
        """Whether the struct's own decoder, which is fast, takes nothing in a document for what collect() would not."""
        if type(document) is not dict or not self._other_names.isdisjoint(document):
            return False
        for name, nullable in self._objects:
            value = document.get(name)
            if type(value) is not dict and not (nullable and value is None):
                return False
        for name, items in self._lists:
            found = document.get(name)
            if type(found) is not list or not all(map(items._is_plain, found)):
                return False
        return True

    def collect(self, given: dict[str, msgspec.Raw], path: str, problems: list[FieldProblem]) -> S | None:
        """The struct of the members of the object at path, or None with what is wrong added to problems."""
        values: dict[str, Any] = {}
        before = len(problems)
        for name, raw in given.items():
            known = self._names.get(name)
            if known is None:
                continue
            field, read = known
            if field in values:
                problems.append(FieldProblem(path + name, "is given twice, in two spellings"))
            try:
                values[field] = _read(read, raw)
            except msgspec.ValidationError as error:
                values[field] = None
                problems.append(problem(path + name, error))
            except _Nested as nested:
                values[field] = None
                problems.extend(FieldProblem(path + name + p.field, p.message) for p in nested.problems)
        if not self._required.keys() <= values.keys():
            missing = (wire for field, wire in self._required.items() if field not in values)
            problems.extend(FieldProblem(path + wire, "is missing") for wire in missing)
        return self._struct(**values) if len(problems) == before else None


def _read(read: Reader, raw: msgspec.Raw) -> Any:
    """The value of a field. In JSON a whole number may be written with a fraction of zero: then it is read again."""
    try:
        return read(raw)
    except msgspec.ValidationError:
        if _MAYBE_FRACTION.isdisjoint(bytes(raw)):
            raise
        return read(msgspec.Raw(msgspec.json.encode(_with_whole_numbers(msgspec.json.decode(raw)))))


def _with_whole_numbers(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) <= _MAX_EXACT:
            return int(value)
        case list():
            return [_with_whole_numbers(item) for item in value]
        case dict():
            return {key: _with_whole_numbers(item) for key, item in value.items()}
        case _:
            return value


def problem(name: str, error: msgspec.ValidationError) -> FieldProblem:
    """What msgspec has to say of one field, in our words."""
    text = str(error)
    if at := _AT.search(text):
        name += at[1]
        text = text[: at.start()]
    return FieldProblem(name[:200], text.replace("`", "").replace("Expected", "must be", 1))


def failed(problems: list[FieldProblem]) -> ValidationFailed:
    """One refusal for all wrong fields; the sentence names the first ones."""
    first = problems[0]
    if len(problems) == 1:
        return ValidationFailed(f"{first.field} {first.message}.", (first,))
    names = ", ".join(problem.field for problem in problems[:5])
    return ValidationFailed(f"{len(problems)} fields are wrong: {names}.", tuple(problems[:100]))


class _Nested(Exception):
    """Wrong fields inside a field; their names are relative to it."""

    def __init__(self, problems: list[FieldProblem]) -> None:
        super().__init__()
        self.problems = problems


def _reader(type_: Any) -> Reader:
    plain, bounds = (type_.__origin__, type_.__metadata__) if get_origin(type_) is Annotated else (type_, ())
    struct = next((arg for arg in get_args(plain) if _is_struct(arg)), None)
    if get_origin(plain) is list and struct is not None:
        shape: Any = list[dict[str, msgspec.Raw]]
        for bound in bounds:
            shape = Annotated[shape, bound]
        return _ListReader(shape, BodyReader(struct))
    if _is_raw(type_):
        return _raw_reader(as_object=_holds_object(type_), nullable=type(None) in get_args(type_))
    return msgspec.json.Decoder(type_).decode


def _is_struct(type_: Any) -> bool:
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def _holds_object(type_: Any) -> bool:
    metas = [meta for meta in getattr(type_, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return any((meta.extra or {}).get("object") for meta in metas) or any(map(_holds_object, get_args(type_)))


def _is_raw(type_: Any) -> bool:
    return type_ is msgspec.Raw or any(map(_is_raw, get_args(type_)))


def _raw_reader(*, as_object: bool, nullable: bool) -> Reader:
    def read(raw: msgspec.Raw) -> msgspec.Raw | None:
        text = bytes(raw)
        if nullable and text == b"null":
            return None
        if as_object and not text.startswith(b"{"):
            raise msgspec.ValidationError("Expected an object")
        return raw

    return read


class _ListReader:
    """Reads a list of objects; the names of wrong fields begin with their place in the list."""

    def __init__(self, shape: Any, items: BodyReader[msgspec.Struct]) -> None:
        self.items = items
        self._decode = msgspec.json.Decoder(shape).decode

    def __call__(self, raw: msgspec.Raw) -> list[msgspec.Struct | None]:
        problems: list[FieldProblem] = []
        given = self._decode(raw)
        found = [self.items.collect(item, f"[{index}].", problems) for index, item in enumerate(given)]
        if problems:
            raise _Nested(problems)
        return found
