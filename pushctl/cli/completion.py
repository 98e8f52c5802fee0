"""`pushctl completion`: the script that makes a shell complete our commands.

Owns: the script on stdout. (How shells are spoken to is typer's.) Must not know: what is suggested (suggestions.py).
"""

from typing import Annotated, Final, Literal

import typer

from pushctl.cli import examples

VARIABLE: Final = "_PUSHCTL_COMPLETE"

AT_FIRST_TAB: Final = '[[ "$funcstack[1]" = _pushctl ]] && _pushctl_completion'
"""From a directory in fpath, zsh reads the script when Tab is first pressed, and wants its answer at once."""

app = typer.Typer()


@app.command(
    epilog=examples(
        "source <(pushctl completion bash)          # this shell",
        "pushctl completion bash > ~/.local/share/bash-completion/completions/pushctl",
        "pushctl completion zsh > ~/.zfunc/_pushctl   # with ~/.zfunc in fpath",
        "pushctl completion fish > ~/.config/fish/completions/pushctl.fish",
    )
)
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that completes commands, options and their values in a shell.

    Nothing is installed: put it where your shell looks, as below, or where a package puts it for everybody. It asks the
    `pushctl` on PATH at each Tab, so it never needs to be renewed.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # it is there without __all__

    print(get_completion_script(prog_name="pushctl", complete_var=VARIABLE, shell=shell))
    if shell == "zsh":
        print(AT_FIRST_TAB)
