"""docs/schemas/: a JSON Schema (2020-12) for each command that prints JSON, made from the types that it encodes.

    python -m tests.house.schemas      writes them; tests/house/test_schemas.py holds them to the types

Owns: what a schema says beyond msgspec's: descriptions of fields, from the texts below them; that nothing else may be
there and that nothing is left out, which is true of what is encoded (readers of other people's JSON may be more
lenient); that what is called `at` or `..._at` is a moment.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from pushctl.cli.catalog import LINES

FOLDER: Final = Path(__file__).parents[2] / "docs/schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def file_of(command: str) -> Path:
    return FOLDER / f"{command.replace(' ', '-')}.json"


def schema_of(command: str) -> dict[str, Any]:
    """Of one line that the command prints."""
    kinds = [each for kind in LINES[command] for each in (get_args(kind) or (kind,))]
    shapes, definitions = msgspec.json.schema_components(kinds)
    shapes = tuple(dict(shape) for shape in shapes)
    for struct in _structs(kinds):
        _complete(definitions[struct.__name__], struct)
    line = shapes[0] if len(shapes) == 1 else {"anyOf": list(shapes)}
    json_option = "" if command == "serve all" else " --json"
    return {
        "$schema": DIALECT,
        "title": f"A line of `pushctl {command}{json_option}`",
        **line,
        "$defs": dict(sorted(definitions.items())),
    }


def _structs(kinds: list[Any]) -> list[type[msgspec.Struct]]:
    """Every Struct in these types, however deep."""
    found: dict[str, type[msgspec.Struct]] = {}

    def walk(kind: Any) -> None:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__name__ not in found:
            found[kind.__name__] = kind
            for field in msgspec.structs.fields(kind):
                walk(field.type)
        for inner in get_args(kind):
            walk(inner)

    for kind in kinds:
        walk(kind)
    return list(found.values())


def _complete(definition: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    definition["additionalProperties"] = False
    if not struct.__struct_config__.omit_defaults:
        definition["required"] = list(definition["properties"])
    if "description" in definition:
        definition["description"] = _flat(definition["description"])
    said = dict(_field_docs(struct))
    for name, shape in definition["properties"].items():
        shape.pop("default", None)  # of a constructor; in what is printed the field is always there
        if name in said:
            shape["description"] = said[name]
        if name == "at" or name.endswith("_at"):
            for text in [each for each in (shape, *shape.get("anyOf", ())) if each.get("type") == "string"]:
                text["format"] = "date-time"


def _field_docs(struct: type[msgspec.Struct]) -> Iterator[tuple[str, str]]:
    """The text below each field that has one, those of classes above first."""
    for each in reversed(struct.__mro__):
        if not issubclass(each, msgspec.Struct) or each is msgspec.Struct or not _has_source(each):
            continue
        [defined] = ast.parse(textwrap.dedent(inspect.getsource(each))).body
        assert isinstance(defined, ast.ClassDef)
        for field, below in zip(defined.body, defined.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(below):
                yield field.target.id, _flat(ast.literal_eval(below.value))  # type: ignore[attr-defined]


def _has_source(struct: type[msgspec.Struct]) -> bool:
    """Whether it was written down, not made by defstruct."""
    try:
        inspect.getsource(struct)
    except (OSError, TypeError):
        return False
    return True


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _flat(text: str) -> str:
    return " ".join(text.split())


def all_schemas() -> Mapping[Path, str]:
    """What the folder holds, word for word."""
    return {file_of(name): json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n" for name in LINES}


if __name__ == "__main__":
    wanted = all_schemas()
    FOLDER.mkdir(exist_ok=True)
    for file in set(FOLDER.glob("*.json")) - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        file.write_text(text, encoding="utf-8")
