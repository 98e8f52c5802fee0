"""Every module says at its top what it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    str(file.relative_to(ROOT))
    for room in ("pushctl", "roles", "examples", "tests")
    for file in (ROOT / room).rglob("*.py")
    if "node_modules" not in file.parts and (file.name != "__init__.py" or room in ("pushctl", "roles"))
)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text())
    assert ast.get_docstring(tree) or not tree.body
