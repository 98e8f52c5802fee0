"""docs/reference.md says what the commands are, and the catalog how each may end."""

import re

from pushctl.cli.catalog import EXIT_CODES, EXITS
from pushctl.errors import ConfigError, Failed, NotGood, TimedOut, Unreachable
from tests.house.commands import every_command
from tests.house.reference import FILE, VARIABLES, reference
from tests.house.test_docs import DOCUMENTS, sources


def test_the_reference_is_that_of_the_commands() -> None:
    assert FILE.read_text("utf-8") == reference(), "run `python -m tests.house.reference`"


def test_every_command_says_how_it_may_end() -> None:
    assert EXITS.keys() == every_command().keys()
    assert {code for codes in EXITS.values() for code in codes} == EXIT_CODES.keys()
    assert {each.exit_code for each in (Failed, ConfigError, NotGood, TimedOut, Unreachable)} <= EXIT_CODES.keys()
    rows = DOCUMENTS["docs/protocol.md"].rows("6. Command line")
    assert {int(row[0]) for row in rows if row[0].isdigit()} == EXIT_CODES.keys()


def test_every_variable_that_we_read_is_in_the_reference() -> None:
    found: set[str] = set()
    for file in sources("pushctl", "roles"):
        found |= set(re.findall(r'"(PUSHCTL_[A-Z_]+)"', file.read_text("utf-8")))
    assert found - {"PUSHCTL_"} == {name for name in VARIABLES if name.startswith("PUSHCTL_") and "<" not in name}
