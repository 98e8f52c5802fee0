"""`pushctl keys`: the secrets that the service and its senders need, made, rotated and taken out.

Owns: what people type and are told. Promises: no secret is ever printed; a keys file is never overwritten, and changed
only whole; what would hurt is refused (exit 3) with the reason.
Must not know: what the keys are for (identity/keys.py, webpush/signing.py), which step is safe (rotation.py).
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from pushctl import cli
from pushctl.errors import ConfigError

if TYPE_CHECKING:
    from pushctl.config.model import Config
    from pushctl.identity.key import Key
    from pushctl.identity.keys import Keys
    from pushctl.registry import Registry
    from pushctl.rotation import Kind

T = TypeVar("T")

app = typer.Typer(
    cls=cli.Group,
    help="Make, rotate and take out the secrets that the service and its senders need.",
    no_args_is_help=True,
    epilog=cli.examples(
        "pushctl keys new /etc/pushctl/keys.toml",
        "pushctl keys status --config conf.d",
        "pushctl keys rotate sealing --config conf.d",
        "pushctl keys vapid vapid.pem",
    ),
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per key, a line each.")]
KINDS = ("sealing", "user_id", "identity_index")


@app.command(epilog=cli.examples("pushctl keys new", "sudo -u pushctl pushctl keys new /etc/pushctl/keys.toml"))
def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write; must not be there yet.")] = Path(
        "keys.toml"
    ),
) -> None:
    """Make a keys file (mode 0600) and print the line of configuration that names it.

    All roles of an installation share one file. Keep a copy in a safe place: without it nobody's push URLs open.
    """
    from pushctl.config.render import toml_value
    from pushctl.identity.keys import Keys

    Keys.generate().write(file)
    _say("this goes under [identity], in 10-common.toml or a file of its own:")
    print(f"keys_file = {toml_value(str(file.absolute()))}")


@app.command(
    epilog=cli.examples(
        "pushctl keys status --config conf.d",
        "pushctl keys status --count      # push URLs of each: a long walk",
        "pushctl keys status --json | jq -c '[.kind, .id, .state, .roles_without]'",
    )
)
def status(
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    count: Annotated[bool, typer.Option("--count", help="Count the push URLs that each key sealed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Where each key stands: what the file says of it, which running roles have it and which lack it, who seals."""
    from pushctl import rotation
    from pushctl.cli.keys_view import show, walking
    from pushctl.identity.keys import Keys

    loaded = _loaded(config, sets)

    async def look(registry: "Registry") -> list[rotation.KeyStatus]:
        counts = None
        if count:
            with walking("counting push URLs") as on_share:
                counts = await rotation.count_push_urls(registry, on_share)
        return await rotation.status(registry, Keys.needed(loaded.identity), counts)

    show(_ask(loaded, look), as_json)


@app.command(
    epilog=cli.examples(
        "pushctl keys rotate sealing              # 1: a new key, that only opens",
        "pushctl keys rotate sealing --continue   # 2: it seals; all roles have it",
        "pushctl keys rotate user_id --config conf.d",
        "pushctl keys rotate identity_index --config conf.d",
    )
)
def rotate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="sealing, user_id or identity_index.")],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    go_on: Annotated[bool, typer.Option("--continue", help="sealing: the second step.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="sealing: one more, without asking Redis whether one waits.")
    ] = False,
) -> None:
    """Bring a new key into the keys file. Roles read it again at SIGHUP, or when they start.

    A sealing key comes in two steps: at first it only opens; with --continue it seals, which is refused (exit 3) while
    a running role has not reported it; until then a second new one is refused. Give every role the file after each
    step. Whatever the file says, no role seals with a new key that another one lacks.
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"{kind!r} is not a kind of key: {', '.join(KINDS)}")
    if go_on and kind != "sealing":
        raise typer.BadParameter("--continue is for sealing: other keys come in one step")
    if force and (go_on or kind != "sealing"):
        raise typer.BadParameter("--force is for the first step of sealing")
    loaded = _loaded(config, sets)
    file = _file(loaded)
    if go_on:
        _continue(loaded, file)
    else:
        if kind == "sealing" and not force:
            _check_none_waits(loaded, file)
        _bring_in(file, cast("Kind", kind))


def _check_none_waits(config: "Config", file: Path) -> None:
    from pushctl import rotation
    from pushctl.identity.keys import Keys

    _ask(config, lambda registry: rotation.check_none_waits(registry, Keys.load(file)))


def _bring_in(file: Path, kind: "Kind") -> None:
    from pushctl import rotation
    from pushctl.identity.keys import change

    made: list[Key] = []

    def with_new(keys: "Keys") -> "Keys":
        changed, key = rotation.with_new(keys, kind)
        made.append(key)
        return changed

    change(file, with_new)
    print(made[0].id)
    _say(f"new {kind} key {made[0].id} in {file}: give every role the file, and send it SIGHUP or restart it")
    if kind == "sealing":
        _say("it only opens; then: pushctl keys rotate sealing --continue")


def _continue(config: "Config", file: Path) -> None:
    from pushctl import rotation
    from pushctl.identity.keys import Keys, change

    async def check(registry: "Registry") -> "tuple[Key, int]":
        key = await rotation.pending(registry, Keys.load(file))
        return key, await rotation.check_everybody_has(registry, key)

    key, running = _ask(config, check)
    change(file, lambda keys: rotation.promoted(keys, key.id))
    print(key.id)
    _say(f"{key.id} seals from now on: all {running} roles that run have it. Give them the file, and send them SIGHUP")


@app.command(
    epilog=cli.examples(
        "pushctl keys retire x7Qa --config conf.d",
        "pushctl keys retire x7Qa --force  # it leaked: its push URLs are lost",
    )
)
def retire(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `pushctl keys status` shows it.")],
    config: cli.ConfigPaths = None,
    sets: cli.Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Whatever hangs on it.")] = False,
) -> None:
    """Take an old key out of the keys file, if nothing hangs on it any more; else exit 3, and it stays.

    Of a sealing key: no role seals with it, nor did for as long as messages live, and no live push URL is sealed with
    it, which is found out by going over all of Redis. Of the identity index: everybody has logged in since the new one.
    """
    from pushctl import rotation
    from pushctl.identity.keys import Keys

    loaded = _loaded(config, sets)
    file = _file(loaded)
    keys = Keys.load(file)
    found = [(kind, key) for kind, key in rotation.keys_of(keys) if key.id == key_id]
    if len(found) > 1:
        raise ConfigError([f"{file}: two keys of different kinds have the id {key_id}: change one by hand"])
    kind: Kind = found[0][0] if found else "sealing"
    if found:
        _check_not_needed(keys, kind, found[0][1])
    elif not force:
        raise ConfigError([f"{file}: no key has the id {key_id}; --force if it is lost, and others wait for it"])
    _take_out(loaded, file, kind, key_id, force)


def _take_out(config: "Config", file: Path, kind: "Kind", key_id: str, force: bool) -> None:
    from pushctl import rotation
    from pushctl.cli.keys_view import walking
    from pushctl.identity.keys import Keys, change

    async def clear(registry: "Registry") -> int:
        with walking(f"looking for what hangs on {key_id}") as on_share:
            if kind == "sealing":
                return await rotation.retire_sealing(registry, config, key_id, force=force, on_share=on_share)
            if kind == "identity_index":
                keys = Keys.load(file)
                return await rotation.retire_index(registry, keys, key_id, force=force, on_share=on_share)
            return 0

    hurt = _ask(config, clear)
    change(file, lambda keys: rotation.without(keys, key_id))
    _say(f"{key_id} is out of {file}: give every role the file, and send it SIGHUP")
    if hurt:
        _say(f"it took {hurt:,} with it")


def _check_not_needed(keys: "Keys", kind: "Kind", key: "Key") -> None:
    """Raises NotGood for the key that all new things are made with."""
    from pushctl.errors import NotGood
    from pushctl.rotation import FIRST

    newest = {"user_id": keys.user_id_keys[0].id, "identity_index": keys.index_id or FIRST}
    if key.state == "seals" or newest.get(kind) == key.id:
        raise NotGood(f"{key.id} is the key in use: `pushctl keys rotate {kind}` first")


@app.command(
    epilog=cli.examples(
        "pushctl keys vapid", "pushctl client allow news.example --vapid-key $(pushctl keys vapid site.pem)"
    )
)
def vapid(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write; must not be there yet.")] = Path(
        "vapid.pem"
    ),
) -> None:
    """Make a sender's key (VAPID, RFC 8292; PEM, mode 0600) and print its public half.

    The public half is what a page passes as applicationServerKey; `pushctl send --vapid` and other senders sign with
    the file.
    """
    from pushctl.webpush.signing import VapidKey

    key = VapidKey.generate()
    key.write(file)
    print(key.public)


def _loaded(config: list[Path] | None, sets: list[str] | None) -> "Config":
    from pushctl.config.load import load

    return load(config, sets or [], os.environ).config


def _file(config: "Config") -> Path:
    if not config.identity.keys_file:
        why = "not set: keys are changed in the file they come from"
        raise ConfigError([f"identity.keys_file: {why}; name it: --set identity.keys_file=FILE"])
    return Path(config.identity.keys_file)


def _ask(config: "Config", what: "Callable[[Registry], Awaitable[T]]") -> T:
    import trio

    from pushctl.identity.keys import installation_of
    from pushctl.registry import open_registry

    async def ask() -> T:
        async with open_registry(config, name="keys", installation=installation_of(config.identity)) as registry:
            return await what(registry)

    return trio.run(ask)


def _say(text: str) -> None:
    cli.tell(text)
