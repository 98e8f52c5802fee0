"""The door of the command line: help, exit codes, and that nothing is imported before it is used."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pushctl
from pushctl.build import build, commit_of
from pushctl.cli import COMMANDS, exit_code_of, load_command, main
from pushctl.errors import ConfigError, Failed, NotGood, PushctlError, TimedOut, Unreachable

HEAVY = {
    *("trio", "litestar", "redis", "httpx", "structlog", "msgspec", "rich", "cryptography", "pydantic", "sqlite3"),
    *("ssl", "asyncio", "prometheus_client", "pushctl.config.model"),
}
"""What a help text can do without. (Pydantic is typer's, for values.)"""
LIGHT = {
    *((), ("client",), ("client", "listen"), ("client", "swarm"), ("send",), ("stats",), ("inspect", "user")),
    *(("drain",), ("undrain",), ("broadcast",), ("doctor",), ("completion",), ("serve",), ("bench", "storm")),
    *(("config",), ("config", "show"), ("keys",), ("keys", "rotate"), ("client", "run"), ("client", "login")),
}
"""Commands whose help imports nothing of it."""


def all_commands() -> Iterator[tuple[str, ...]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, (*path, name))

    yield ()
    for name in COMMANDS:
        yield from walk(load_command(name), (name,))


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(args)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.parametrize("command", list(all_commands()), ids=lambda command: " ".join(("pushctl", *command)))
def test_every_help_text_ends_with_examples(capsys: pytest.CaptureFixture[str], command: tuple[str, ...]) -> None:
    code, out, err = run(capsys, *command, "--help")
    assert (code, err) == (0, "")
    head, _, examples = out.rpartition("Examples:")
    assert "Usage: pushctl" in head
    lines = [line.strip() for line in examples.replace("\\\n", "").strip().splitlines()]
    assert lines
    assert not [line for line in lines if "pushctl" not in line and not line.startswith("#")]


def test_help_imports_nothing_heavy() -> None:
    code = f"""
import sys
from pushctl.cli import main
for words in {sorted(LIGHT)!r}:
    try:
        main([*words, "--help"])
    except SystemExit:
        print(words, sorted({HEAVY!r} & sys.modules.keys()), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert ended.stderr.splitlines() == [f"{words} []" for words in sorted(LIGHT)]


def test_the_version_says_which_build_it_is_and_what_it_runs_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--version")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first == f"pushctl {pushctl.__version__} (commit {build().commit})"
    assert re.fullmatch(r"CPython [\d.]+, trio [\d.]+, redis-py [\d.]+, hiredis [\d.]+, OpenSSL \S+, \S+ .*", second)


def test_a_commit_is_that_of_the_checkout_itself_not_of_one_around_it(tmp_path: Path) -> None:
    (tmp_path / "site-packages").mkdir()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    assert re.fullmatch(r"[0-9a-f]{12}", commit_of(tmp_path) or "")
    assert commit_of(tmp_path / "site-packages") is None


@pytest.mark.parametrize("args", [("srve",), ("serve",), ("serve", "nobody"), ("--nothing",), ("config", "sow")])
def test_wrong_usage_ends_with_2_and_says_so_on_stderr(capsys: pytest.CaptureFixture[str], args: tuple[str]) -> None:
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert "Usage: pushctl" in err
    assert "Traceback" not in err


def test_a_mistyped_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'serve'?" in run(capsys, "srve")[2]


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Failed("what happened"), 1),
        (ConfigError(["what happened"]), 2),
        (NotGood("what happened"), 3),
        (TimedOut("what happened"), 4),
        (Unreachable("what happened"), 5),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_an_error_is_one_line_and_its_exit_code_however_deep_in_nurseries(
    capsys: pytest.CaptureFixture[str], error: PushctlError, code: int, depth: int
) -> None:
    wrapped: Exception = error
    for _ in range(depth):
        wrapped = ExceptionGroup("nursery", [wrapped])
    assert exit_code_of(raising(wrapped)) == code
    assert capsys.readouterr() == ("", "pushctl: what happened\n")


def test_every_mistake_is_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(raising(ConfigError(["one", "two"]))) == 2
    assert capsys.readouterr().err == "pushctl: one\npushctl: two\n"


def test_an_interrupt_is_130_without_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(raising(KeyboardInterrupt())) == 130
    assert exit_code_of(raising(BaseExceptionGroup("nursery", [KeyboardInterrupt()]))) == 130
    assert capsys.readouterr() == ("", "")


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup):
        exit_code_of(raising(ExceptionGroup("nursery", [Failed("known"), ZeroDivisionError()])))


TALKATIVE = """
import sys
import trio
from pushctl.cli import exit_code_of

async def talk():
    while True:
        print("line " * 100)
        await trio.lowlevel.checkpoint()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(talk)

sys.exit(exit_code_of(lambda: trio.run(main)))
"""


def test_a_reader_that_has_had_enough_is_no_traceback() -> None:
    talking = subprocess.Popen([sys.executable, "-c", TALKATIVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert talking.stdout is not None
    talking.stdout.readline()
    talking.stdout.close()
    assert talking.stderr is not None
    with talking.stderr as said:
        assert said.read() == b""
    assert talking.wait(timeout=20) == 1


def test_a_full_disk_is_one_line_and_no_traceback() -> None:
    with Path("/dev/full").open("w") as full:
        talked = subprocess.run([sys.executable, "-c", TALKATIVE], stdout=full, stderr=subprocess.PIPE, check=False)
    assert (talked.returncode, talked.stderr) == (1, b"pushctl: cannot write the output: no space left where it goes\n")
