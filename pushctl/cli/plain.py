"""How the command line speaks: help texts and mistakes in one spelling, whatever typer and pydantic would say.

Owns: names of arguments, defaults, the list of commands below a command, and what is said of a value that is wrong.
Promises: plain text, for narrow terminals, pipes and copying come before boxes; a summary is never cut short; whatever
is typed in place of a number or a choice, the answer says what was expected and what was got.
Must not know: any command.
"""

import re
from typing import Any, Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from pushctl.cli.typed import Coercion

_NUMBERS: Final = {int: "a whole number", float: "a number"}


def plain(command: Any) -> None:
    """Have a command and all below it speak so."""
    command.rich_markup_mode = None
    if type(command) is TyperCommand:
        command.__class__ = _Command
    for each in command.params:
        if isinstance(each, TyperArgument):
            each.__class__ = _Argument
        elif isinstance(each, TyperOption):
            each.__class__ = _Option
    for inner in getattr(command, "commands", {}).values():
        inner.short_help = summary(inner.help or "")
        plain(inner)


def summary(text: str) -> str:
    """The first sentence of a help text, whole: typer ends it with dots where the line ends."""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


def _in_our_words(parameter: Any, value: Any, error: typer.BadParameter) -> typer.BadParameter:
    """What a parser of ours says stays; what pydantic says does not."""
    if not hasattr(error.__cause__, "errors"):
        return error
    return typer.BadParameter(_expected(parameter, value, error.message), ctx=error.ctx, param=error.param)


def _expected(parameter: Any, value: Any, said: str) -> str:
    kind = parameter.type_descriptor
    if kind.choices:
        *others, last = map(str, kind.choices)
        return f"expected {', '.join(others)} or {last}, got {value!r}{_alike(str(value), [*others, last])}"
    if kind.annotation in _NUMBERS:
        limits = (("least", parameter.min), ("most", parameter.max))
        bounds = [f"at {word} {limit}" for word, limit in limits if limit is not None]
        return f"expected {', '.join([_NUMBERS[kind.annotation], *bounds])}, got {value!r}"
    return said.removeprefix("Value error, ")


def _alike(value: str, choices: list[str]) -> str:
    import difflib

    found = difflib.get_close_matches(value, choices, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def not_asked_for(help_option: Any) -> Any:
    """--help says false, not nothing, when nobody asks for it: of nothing, typer asks pydantic what it means."""
    if help_option is not None:
        help_option.default = False
    return help_option


class _Command(TyperCommand):
    def get_help_option(self, ctx: Any) -> Any:
        return not_asked_for(super().get_help_option(ctx))


class _Argument(TyperArgument):
    """`SERVER`, `[SECTION]`, `[ROLE]...`, as everybody writes them; its type is not said, its choices are."""

    def get_runtime_param(self) -> Any:
        return Coercion(super().get_runtime_param)

    def process_value(self, ctx: Any, value: Any) -> Any:
        try:
            return super().process_value(ctx, value)
        except typer.BadParameter as error:
            raise _in_our_words(self, value, error) from None

    def get_usage_pieces(self, ctx: Any) -> list[str]:
        name = self.display_name_raw
        return [f"{name if self.required else f'[{name}]'}{'...' if self.nargs != 1 else ''}"]

    def display_type_rich(self, ctx: Any) -> str | None:
        return super().display_type_rich(ctx) if self.type_descriptor.is_choice else None


class _Option(TyperOption):
    def get_runtime_param(self) -> Any:
        return Coercion(super().get_runtime_param)

    def process_value(self, ctx: Any, value: Any) -> Any:
        try:
            return super().process_value(ctx, value)
        except typer.BadParameter as error:
            raise _in_our_words(self, value, error) from None

    def get_help_record(self, ctx: Any) -> tuple[str, str] | None:
        record = super().get_help_record(ctx)
        # A default that we put in words would stand in parentheses.
        return record and (record[0], re.sub(r"\[default: \((.*?)\)(?=[];])", r"[default: \1", record[1]))
