"""`pushctl config`: what is in effect, whether it is right, and a commented default to start from.

Owns: the four commands. Must not know: keys and values (pushctl/config).
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from pushctl import cli
from pushctl.cli import suggestions, values
from pushctl.errors import ConfigError, Failed

app = typer.Typer(
    cls=cli.Group,
    help="Show, check, write or explain the configuration.",
    no_args_is_help=True,
    epilog=cli.examples("pushctl config init conf.d", "pushctl config check --config conf.d", "pushctl config show"),
)


@app.command(
    epilog=cli.examples(
        "pushctl config show --sources",
        "pushctl config show --config conf.d --set api.listen=127.0.0.1:0",
        "pushctl config show --json | grep public_url",
    )
)
def show(
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    sources: Annotated[bool, typer.Option("--sources", help="Say where each value comes from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per key, a line each.")] = False,
) -> None:
    """Print the configuration in effect, as TOML. Secret parts of values are left out."""
    from pushctl.cli.answers import ConfigValue
    from pushctl.client.events import json_line
    from pushctl.config.load import load
    from pushctl.config.render import effective, effective_values

    loaded = load(config, sets or [], os.environ)
    if as_json:
        for path, about in effective_values(loaded).items():
            print(json_line(ConfigValue(path, **about)))
    else:
        print(effective(loaded, sources=sources), end="")


@app.command(
    epilog=cli.examples(
        "pushctl config check --config conf.d",
        "pushctl config check api socket --config /etc/pushctl/conf.d --strict",
    )
)
def check(
    roles: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ROLE", autocompletion=suggestions.roles, help="Also check what these roles need to start."
        ),
    ] = None,
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="For deployments: refuse the development identity provider, too.")
    ] = False,
) -> None:
    """Find every mistake at once: 0 and silence, or one line each and 2."""
    from pushctl.config.check import check_role, dev_idp_on
    from pushctl.config.load import load

    loaded = load(config, sets or [], os.environ)
    mistakes = [mistake for role in roles or [] for mistake in check_role(loaded.config, values.role(role))]
    if strict and dev_idp_on(loaded.config):
        mistakes.append("identity.dev_idp.enabled: the development identity provider lets anybody in")
    if mistakes:
        raise ConfigError(list(dict.fromkeys(mistakes)))


@app.command(
    epilog=cli.examples(
        "pushctl config doc redis                # one table",
        "pushctl config doc redis.url            # one key",
        "pushctl config doc ping_seconds         # a key by its name alone",
        "pushctl config doc --markdown > keys.md",
        "pushctl config doc --json | jq -r 'select(.secret) | .key'",
    )
)
def doc(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="A table or a key; all without it.", autocompletion=suggestions.config_keys
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As Markdown, a table for each table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per key, a line each.")] = False,
) -> None:
    """Document every key of this version: what it takes, its default, its meaning, its variable and who reads it.

    With _FILE behind a variable's name, the value is read from the file that it names.
    """
    from pushctl.cli import config_doc
    from pushctl.client.events import json_line
    from pushctl.config.about import document, names
    from pushctl.config.schema import close

    if markdown and as_json:
        raise typer.BadParameter("give either --markdown or --json")
    found = document(name)
    if not found:
        meant = "".join(f"; did you mean {guess}?" for guess in close(name or "", names()))
        raise typer.BadParameter(f"there is no table or key {name!r}{meant}")
    if as_json:
        for each in found:
            print(json_line(each))
    elif markdown:
        config_doc.print_markdown(found)
    else:
        config_doc.print_text(found)


@app.command(
    epilog=cli.examples(
        "pushctl config init",
        "sudo pushctl config init /etc/pushctl/conf.d",
        "pushctl config init --env > pushctl.env  # for systemd or a container",
    )
)
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to write; made if need be.")] = Path(
        "conf.d"
    ),
    env: Annotated[bool, typer.Option("--env", help="Print them as variables instead, for an env file.")] = False,
) -> None:
    """Write the commented default files. Files that are there stay as they are, and nothing is written then."""
    from pushctl.config.render import default_env, default_files

    if env:
        print(default_env(), end="")
        return
    files = {directory / name: text for name, text in default_files().items()}
    there = [str(file) for file in files if file.exists()]
    if there:
        raise Failed(f"there already, nothing written: {', '.join(there)}")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
            print(file)
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error
    cli.tell(f"next: `pushctl keys new`, edit, `pushctl config check --config {directory}`")
