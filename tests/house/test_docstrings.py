"""Every module says at its top what it is."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_module_says_what_it_is() -> None:
    """One test for all of them: as one test each, they would be an eighth of all tests."""
    silent = []
    for room in ("pushctl", "roles", "examples", "tests"):
        for file in (ROOT / room).rglob("*.py"):
            if "node_modules" in file.parts or (file.name == "__init__.py" and room not in ("pushctl", "roles")):
                continue
            tree = ast.parse(file.read_text())
            if tree.body and not ast.get_docstring(tree):
                silent.append(str(file.relative_to(ROOT)))
    assert not silent
