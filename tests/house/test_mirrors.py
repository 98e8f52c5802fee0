"""Tests are found where one looks for them: tests/unit mirrors pushctl/ and roles/, and what runs alone lies in two
folders."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
TESTS = sorted(file.relative_to(UNIT) for file in UNIT.rglob("test_*.py"))


def test_a_unit_test_names_a_module_that_exists() -> None:
    assert TESTS
    modules = [test.with_name(test.stem.removeprefix("test_")) for test in TESTS]
    rooms = (ROOT / "pushctl", ROOT / "roles")
    lost = [
        str(module)
        for module in modules
        if not any((room / f"{module}.py").exists() or (room / module).exists() for room in rooms)
    ]
    assert not lost, "neither in pushctl/ nor in roles/"


def test_a_folder_of_unit_tests_is_a_package() -> None:
    folders = {test.parent for test in TESTS}
    assert not [str(folder) for folder in folders if not (UNIT / folder / "__init__.py").exists()]


def test_what_runs_alone_lies_where_make_ci_looks_for_it() -> None:
    """It would not be run elsewhere."""
    files = (ROOT / "tests").rglob("test_*.py")
    alone = {file.relative_to(ROOT / "tests").parts[0] for file in files if "mark.alone" in file.read_text()}
    assert alone - {"house"} == {"benchmarks", "faults"}
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "long and alone" in line]
    assert line.endswith(" tests/benchmarks tests/faults")
