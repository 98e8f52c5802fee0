"""How the command line speaks: what is said of a wrong value, and what help texts look like."""

import pytest

from pushctl.cli.plain import summary
from tests.unit.cli.commands import run


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "serve foo",
            "Invalid value for 'ROLE': expected api, boxoffice, socket, router, gc or all, got 'foo'",
        ),
        (
            "send @x hi --urgency hgh",
            "Invalid value for '--urgency': expected very-low, low, normal or high, got 'hgh'; did you mean high?",
        ),
        (
            "serve all --sockets x",
            "Invalid value for '--sockets': expected a whole number, at least 1, at most 64, got 'x'",
        ),
        ("stats --top -1", "Invalid value for '--top': expected a whole number, at least 0, got '-1'"),
        ("stats --watch soon", "'soon' is not a duration: write 500ms, 5s, 10m, 2h or 3d"),
        ("drain", "Missing argument 'SERVER'"),
        ("serve", "Missing argument 'ROLE'. Choose from: api, boxoffice, socket, router, gc, all\n"),
        ("client read", "\nError: give either message IDs or --all\n"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(typed: str, said: str) -> None:
    ran = run(*typed.split())
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("serve", "pushctl serve [OPTIONS] ROLE\n"),
        ("broadcast", "pushctl broadcast [OPTIONS] [ID] [VERSION]\n"),
        ("doctor", "pushctl doctor [OPTIONS] [ROLE]...\n"),
        ("client login", "[default: http://127.0.0.1:8080]"),
        (
            "client",
            "Remove a device of this user: its session ends, and its open\n              connection within a second.\n",
        ),
    ],
)
def test_a_help_text_has_nothing_of_the_machinery_and_is_not_cut_short(
    words: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = run(*words.split(), "--help").out
    assert said in shown
    assert not [
        each for each in ("<str>", "<path>", "list[", "...\n  ", "{") if each in shown.partition("Examples:")[0]
    ]


def test_a_summary_is_the_first_sentence_whole() -> None:
    assert summary("Find every mistake\n    at once. Then more.\n\n    Much more.") == "Find every mistake at once."
