"""The tests of a module are found where the module says: tests/unit mirrors pushctl/ and roles/."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "tests" / "unit"
TESTS = sorted(str(file.relative_to(UNIT)) for file in UNIT.rglob("test_*.py"))


@pytest.mark.parametrize("test", TESTS)
def test_a_unit_test_names_a_module_that_exists(test: str) -> None:
    place = Path(test)
    module = place.with_name(place.stem.removeprefix("test_"))
    candidates = [room / each for room in (ROOT / "pushctl", ROOT / "roles") for each in (f"{module}.py", module)]
    assert any(candidate.exists() for candidate in candidates), f"no pushctl/{module}.py or roles/{module}.py"


@pytest.mark.parametrize("folder", sorted({str(Path(test).parent) for test in TESTS}))
def test_a_folder_of_unit_tests_is_a_package(folder: str) -> None:
    assert (UNIT / folder / "__init__.py").exists()
