"""Log lines: where they go, what they look like, and what never stands in one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pushctl import log
from pushctl.stages import Stage

SECRET = "hunter2-AAAAAAAAAAAAAAAA"


@pytest.fixture(autouse=True)
def _afterwards() -> Iterator[None]:
    yield
    log.configure()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_an_event_is_one_json_line_on_stderr_with_moment_level_and_event_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log.configure("info", "json")
    log.get_logger(role="api").info(Stage.STORED, seq=12, text="two\nlines")
    (line,) = lines(capsys)
    assert list(line) == ["timestamp", "level", "event", "role", "seq", "text"]
    assert line["event"] == "stored"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")
    assert line["text"] == "two\nlines"


def test_auto_is_json_when_stderr_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "auto")
    log.get_logger().info("received")
    assert lines(capsys)[0]["event"] == "received"


def test_less_than_the_least_level_is_not_written_also_by_loggers_made_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    early = log.get_logger()
    early.info("kept")
    log.configure("warning", "json")
    early.info("dropped")
    early.warning("kept")
    assert [line["event"] for line in lines(capsys)] == ["kept", "kept"]


@pytest.mark.parametrize(
    "name",
    ["token", "session_token", "Authorization", "assertion", "certificate", "password", "client-secret", "bundle"],
)
def test_a_value_under_a_secret_name_is_redacted_at_any_depth(capsys: pytest.CaptureFixture[str], name: str) -> None:
    logger = log.get_logger()
    logger.info("received", **{name: SECRET})
    logger.info("received", headers={"x": [{name: SECRET}]})
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert err.count(log.REDACTED) == 2


@pytest.mark.parametrize(
    "text",
    [
        f"http://127.0.0.1:8080/push/{SECRET}",
        f"GET /push/{SECRET} HTTP/1.1",
        f"cannot reach redis://user:{SECRET}@127.0.0.1:6379/0",
        f"rediss://:{SECRET}@h",
        f"authorization was 'Bearer {SECRET}'",
        f"BrowserID {SECRET}~{SECRET}",
        f"vapid t={SECRET}.{SECRET}, k={SECRET}",
    ],
)
@pytest.mark.parametrize("log_format", ["json", "text"])
def test_credentials_inside_a_text_are_redacted(
    capsys: pytest.CaptureFixture[str], text: str, log_format: log.Format
) -> None:
    log.configure("info", log_format)
    logger = log.get_logger()
    logger.info("received", detail=text, raw=text.encode(), nested=[(text,)], thing=ValueError(text))
    try:
        raise ValueError(text)
    except ValueError:
        logger.error("failed", exc_info=True)
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    assert log.REDACTED in err


def test_what_is_no_secret_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"url": "https://push.example/v1/login", "count": 3, "ok": True, "none": None, "seconds": 0.5, "list": [1]}
    log.get_logger().info("received", **values)
    assert values.items() <= lines(capsys)[0].items()


def test_foreign_text_cannot_move_the_cursor_of_who_reads_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "text")
    logger = log.get_logger()
    for control in ("\x1b[2J", "\r", "\x9b1m"):
        logger.info("received", site=f"https://a{control}")
        logger.info(f"received{control}")
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert "\r" not in err
    assert "\x9b" not in err


def test_a_line_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> None:
            raise BrokenPipeError

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stderr", Gone())
    log.configure("info", "json")
    log.get_logger().info("received")


def test_on_a_terminal_lines_have_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Terminal:
        def write(self, text: str) -> None:
            written.append(text)

        def flush(self) -> None: ...

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stderr", Terminal())
    for no_color, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        log.configure("info", "auto")
        written.clear()
        log.get_logger().info("received", role="api")
        assert ("\x1b[" in "".join(written)) is coloured
        assert "received" in "".join(written)
