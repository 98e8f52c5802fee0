"""What was typed, as a command gets it, without pydantic where it is right as it stands.

typer asks pydantic what any value means, and that takes longer to import than most commands take. Owns: the few kinds
of values that our commands have. Promises: what it takes is what typer would take; whatever else there is, a mistake
above all, is left to typer.
Must not know: any command, or how a mistake is told (plain.py).
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

_WRITTEN: Final = {int: re.compile(r"-?[0-9]{1,15}"), float: re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")}


class _Unclear(Exception):
    """For typer to say."""


class Coercion:
    """In place of typer's own for one parameter, which `typers` makes."""

    def __init__(self, typers: Callable[[], Any]) -> None:
        self._typers = typers

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        try:
            return _meant(value, param)
        except _Unclear:
            return self._typers().coerce(value, param=param, ctx=ctx)


def _meant(value: Any, parameter: Any) -> Any:
    kind, info = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
    if parameter.multiple or parameter.nargs == -1:
        if value is None:
            return ()
        if get_origin(kind) is not list or not isinstance(value, list | tuple):
            raise _Unclear
        [each] = get_args(kind)
        return [_one(item, each, info) for item in value]
    return None if value is None else _one(value, kind, info)


def _one(value: Any, kind: Any, info: Any) -> Any:
    if info.parser is not None:
        return _parsed(value, info)
    if kind in _WRITTEN:
        return _number(value, kind, info)
    if isinstance(value, str):
        if kind is str:
            return value
        if kind is Path:
            return _path(value, info)
        if get_origin(kind) is Literal and value in get_args(kind) and info.case_sensitive:
            return value
    raise _Unclear


def _parsed(value: Any, info: Any) -> Any:
    try:
        return info.parser(value)
    except (ValueError, AssertionError):  # pydantic makes words of these
        raise _Unclear from None


def _number(value: Any, kind: Any, info: Any) -> Any:
    if isinstance(value, str) and _WRITTEN[kind].fullmatch(value):
        value = kind(value)
    least, most = info.min, info.max
    if type(value) is not kind or (least is not None and value < least) or (most is not None and value > most):
        raise _Unclear
    return value


def _path(value: str, info: Any) -> Path:
    if info.exists or info.writable or info.resolve_path or info.allow_dash or info.path_type or not info.file_okay:
        raise _Unclear
    path = Path(value)
    if path.exists() and not (os.access(path, os.R_OK) and (info.dir_okay or not path.is_dir())):
        raise _Unclear
    return path
