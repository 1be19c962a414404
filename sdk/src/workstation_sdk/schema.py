"""From a handler's signature to the JSON Schema of its payload, and from a payload to its arguments."""

import copy
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

import msgspec

_ATOMS = (str, int, float, bool, bytes, type(None))
_decode_object: msgspec.json.Decoder[dict[str, Any]] = msgspec.json.Decoder(dict[str, Any])


class PayloadInvalid(Exception):
    """The payload does not fit the handler's parameters."""


class Parameters:
    """What a handler takes besides its context."""

    def __init__(self, model: type[msgspec.Struct] | None, *, takes_rest: bool) -> None:
        self._decoder = msgspec.json.Decoder(model) if model else None
        self._names = frozenset(model.__struct_fields__) if model else frozenset()
        self._takes_rest = takes_rest
        self.schema = _schema(model)

    def arguments(self, payload: msgspec.Raw) -> dict[str, Any]:
        """Return the keyword arguments; raises `PayloadInvalid` for a payload that does not fit."""
        try:
            known = msgspec.structs.asdict(self._decoder.decode(payload)) if self._decoder else {}
            return self._rest(payload) | known if self._takes_rest else known
        except msgspec.MsgspecError as error:
            raise PayloadInvalid(f"the payload does not fit: {error}") from error

    def _rest(self, payload: msgspec.Raw) -> dict[str, Any]:
        return {key: value for key, value in _decode_object.decode(payload).items() if key not in self._names}


def read_signature(function: Callable[..., Any]) -> Parameters:
    """Return the parameters after the context; raises `TypeError` for a signature that cannot serve."""
    name = getattr(function, "__qualname__", repr(function))
    _context, *parameters = _parameters(function, name)
    hints = _hints(function, name)
    fields: list[Any] = []
    takes_rest = False
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            fields.append(_field(parameter, hints.get(parameter.name, Any)))
        else:
            raise TypeError(f"{name}: {parameter} cannot be filled from a payload; use a keyword parameter")
    try:
        model = msgspec.defstruct("Payload", fields, kw_only=True) if fields else None
        return Parameters(model, takes_rest=takes_rest)
    except TypeError as error:
        raise TypeError(f"{name}: a parameter's type cannot come from JSON: {error}") from error


def _parameters(function: Callable[..., Any], name: str) -> list[inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise TypeError(f"{name} takes no context: its first parameter must be one, as in `async def {name}(ctx)`")
    return parameters


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(inspect.unwrap(function), include_extras=True)
    except NameError as error:
        raise TypeError(f"{name}: {error}; annotate with names that exist at module level") from error


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[Any, ...]:
    default = parameter.default
    if default is inspect.Parameter.empty:
        return parameter.name, hint
    if isinstance(default, _ATOMS):
        return parameter.name, hint, default
    return parameter.name, hint, msgspec.field(default_factory=lambda: copy.deepcopy(default))


def _schema(model: type[msgspec.Struct] | None) -> dict[str, Any]:
    if model is None:
        return {"type": "object"}
    (reference,), components = msgspec.json.schema_components([model], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = components.pop(reference["$ref"].removeprefix("#/$defs/"))
    schema.pop("title", None)
    return schema | {"$defs": components} if components else schema
