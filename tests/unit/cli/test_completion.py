"""Tab in real shells: commands, commands below them, options, choices, profiles."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.terminal import Terminal, terminal

BIN = Path(sys.executable).parent

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SCRIPT = {
    "bash": "source <(pushctl completion bash)",
    "zsh": "mkdir ~/f; pushctl completion zsh > ~/f/_pushctl; fpath+=~/f; autoload -U compinit; compinit -D",
    "fish": "pushctl completion fish | source",
}
TYPED = {
    "pushctl cl": "pushctl client",
    "pushctl client lis": "pushctl client listen",
    "pushctl stats --wa": "pushctl stats --watch",
    "pushctl send --wait deliv": "pushctl send --wait delivered",
    "pushctl keys rotate --config conf.d --cont": "pushctl keys rotate --config conf.d --continue",
    "pushctl client urls --profile pho": "pushctl client urls --profile phone",
    "pushctl config doc socket.ping_s": "pushctl config doc socket.ping_seconds",
}


async def typed(screen: Terminal, text: str) -> None:
    """One key after the other, as a person does."""
    await screen.press("-l", text)


@pytest.mark.debian
@pytest.mark.parametrize("shell", list(START))
async def test_tab_completes(shell: str, tmp_path: Path) -> None:
    assert shutil.which(shell), "make needs installs it"
    (tmp_path / "phone.sqlite3").touch()
    environment = {"PATH": f"{BIN}:/usr/bin:/bin", "PUSHCTL_CLIENT_DIR": str(tmp_path), "HOME": str(tmp_path)}
    async with terminal(START[shell], environment=environment, columns=100) as screen:
        await typed(screen, SCRIPT[shell] + "; echo re''ady")
        await screen.press("Enter")
        await screen.until(lambda lines: "ready" in lines)
        for before, after in TYPED.items():
            await typed(screen, before)
            await screen.press("Tab")
            await screen.until(lambda lines, after=after: any(line.endswith(after) for line in lines))  # type: ignore[misc]
            await screen.press("C-u", "C-l")
