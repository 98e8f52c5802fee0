"""Every example of every help text is run, in an order that makes a story, against one `pushctl serve all`.

An example of a new command is run, too, and must end with 0; what cannot be run within a moment, or ends otherwise, is
said in INSTEAD. (That all of them are commands at all: tests/house/test_examples.py.)
"""

import re
from pathlib import Path

import pytest

from pushctl.cli.catalog import LINES
from tests.house.commands import every_command, examples_of, groups
from tests.house.markdown import calls_in
from tests.scenario.stories import Story, begin, serving
from tests.unit.cli.commands import Ran, run

FIRST = (
    *("", "completion", "config", "config init", "config doc", "config show", "config check", "keys vapid"),
    *("client login", "client", "client allow", "send", "client sync", "client urls", "client messages"),
    *("client listen", "client read", "client link", "client identities", "client devices", "client unlink"),
    *("broadcast", "stats", "inspect", "inspect user", "inspect push-url", "inspect message", "inspect server"),
)
LAST = (
    *("client remove", "client revoke", "client logout", "drain", "undrain", "doctor", "keys", "keys new"),
    *("keys status", "keys rotate", "keys retire", "serve"),
)

ENDLESS = "goes on until it is stopped"
PROVIDER = "needs an identity provider of its own: tests/interop/test_oidc.py, test_browserid.py"
MANY = "goes on for a minute and more: tests/unit/cli/client/test_swarm.py, tests/scenario/test_swarm.py"
MEASURES = "takes its time to measure: tests/scenario/test_bench.py"
LOAD = "sends for many seconds: tests/unit/cli/send/test_load.py"

INSTEAD: dict[str, int | str] = {
    "pushctl serve all": ENDLESS,
    "pushctl serve all --ports auto --data-dir /tmp/demo --sockets 3": ENDLESS,
    "pushctl serve api --config conf.d --set api.public_url=https://push.example": ENDLESS,
    "pushctl client listen": ENDLESS,
    "pushctl client listen --json | jq -r 'select(.event == \"message\") | .title'": ENDLESS,
    "pushctl client listen --min-urgency high": ENDLESS,
    "pushctl client listen --exec 'timeout 10 ./handle \"$PUSHCTL_ID\"' --json": ENDLESS,
    "pushctl client listen --exec 'notify-send \"$PUSHCTL_TITLE\"' --read": ENDLESS,
    "pushctl stats --watch 2s": ENDLESS,
    "pushctl stats --json --watch 10s >> stats.jsonl": ENDLESS,
    "pushctl client run": ENDLESS,
    "pushctl client run --profile phone": ENDLESS,
    "NO_COLOR=1 pushctl client run --min-urgency normal": ENDLESS,
    "pushctl client login --provider accounts --issuer https://accounts.example/ --client-id push-cli": PROVIDER,
    "pushctl client login --provider accounts": PROVIDER,
    "pushctl client login --provider accounts --device": PROVIDER,
    "get-token | pushctl client login --token-file -": PROVIDER,
    "get-assertion | pushctl client login --assertion -": PROVIDER,
    "get-assertion | pushctl client link --assertion -": PROVIDER,
    "get-token | pushctl client link --token-file - --provider accounts": PROVIDER,
    "pushctl client swarm --users 1000 --duration 2m": MANY,
    "pushctl client swarm --users 100 --devices 2 --duration 1m": MANY,
    "pushctl client swarm --users 5000 --arrivals 500/s --duration 10m": MANY,
    "pushctl client swarm --users 1000 --targets targets.txt --read 50%": MANY,
    "pushctl client swarm --users 2000 --json | jq '{lost, latency_ms}'": MANY,
    "pushctl client swarm --api https://push.example --boxoffice https://where.push.example": MANY,
    "pushctl bench send": MEASURES,
    "pushctl bench connect --users 2000 --arrivals 200/s": MEASURES,
    "pushctl bench fanout --users 100 --devices 5 --max-p99 200ms": MEASURES,
    "pushctl bench storm --users 1000 --drop 30% --duration 2m": MEASURES,
    "pushctl bench idle --users 5000 --duration 10m --config conf.d": MEASURES,
    "pushctl bench connect": MEASURES,
    "pushctl bench connect --users 5000 --arrivals 500/s --max-p99 1s": MEASURES,
    "pushctl bench connect --json --csv runs.csv | jq .bench.swarm.connect_ms": MEASURES,
    "pushctl bench send --users 500 --rate 2000/s --duration 30s": MEASURES,
    "pushctl bench fanout": MEASURES,
    "pushctl bench fanout --users 200 --devices 5 --rate 100/s --duration 1m": MEASURES,
    "pushctl bench storm": MEASURES,
    "pushctl bench storm --users 2000 --drop 100% --duration 2m": MEASURES,
    "pushctl bench storm --drain s1 --over 10s --config conf.d": MEASURES,
    "pushctl bench idle": MEASURES,
    "pushctl bench idle --users 10000 --duration 10m --config conf.d": MEASURES,
    "pushctl send --targets targets.txt --rate 100/s --duration 30s --warmup 5s": LOAD,
    "pushctl send --targets targets.txt --count 10000 --concurrency 64": LOAD,
    "pushctl send --targets targets.txt --rate 500/s --max-p99 200ms || echo slow": LOAD,
    "pushctl client allow news.example --vapid-key $(pushctl keys vapid site.pem)": "two commands in one",
    "pushctl send @push_url.txt 'Lunch?' --wait read --timeout 2m || echo nobody": 4,  # nobody reads it
    "pushctl client revoke https://news.example --json": 1,  # the example above has revoked it
    "pushctl stats servers --expect 3": 3,  # there are two
    "pushctl undrain s1 && pushctl stats servers --expect 3": 3,
    "pushctl broadcast news/edition --remove": 1,  # nobody has set it
    "pushctl config check api socket --config /etc/pushctl/conf.d --strict": 2,  # anybody may log in here
    "pushctl config init": 1,  # the example above has made conf.d
    "pushctl keys vapid vapid.pem": 1,  # so it has vapid.pem
    "sudo -u pushctl pushctl keys new /etc/pushctl/keys.toml": 1,
    "pushctl keys rotate sealing": 3,  # the example above has brought one in
    "pushctl keys rotate sealing --continue": 3,  # roles have not read the file again
    "pushctl keys retire x7Qa --config conf.d": 2,  # no such key
    "pushctl client logout --everywhere": 1,  # the example above has logged out
}
"""The exit code, or why it is not run."""

SHORTER = {"--timeout 2m": "--timeout 300ms", "--over 30m": "--over 1s", "--over 1m": "--over 1s"}


def all_examples() -> list[str]:
    """Each once, the story's first commands first and its last ones last."""
    known = ["", *sorted(groups()), *every_command()]
    between = [words for words in known if words not in FIRST + LAST]
    lines = [line for words in (*FIRST, *between, *LAST) for line in examples_of(words)]
    return list(dict.fromkeys(re.sub(r"\s+#( .*)?$", "", line) for line in lines))


def test_what_is_said_of_examples_is_of_examples_there_are() -> None:
    assert INSTEAD.keys() <= set(all_examples())


@pytest.mark.slow
def test_every_example_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path) as service:
        tell(begin(service, tmp_path, monkeypatch), monkeypatch)


def tell(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = []
    for line in all_examples():
        wanted = INSTEAD.get(line, 0)
        if isinstance(wanted, str):
            continue
        code, said = play(story, line, monkeypatch)
        if code != wanted:
            wrong.append(f"{line}\n  ended with {code}, not {wanted}: {said}")
    assert not wrong, "\n".join(wrong)
    for words in (
        ("client", "login", "bob", "--profile", "bob", "--json"),
        ("client", "allow", "a.example", "--profile", "bob", "--json"),
        ("client", "revoke", "a.example", "--profile", "bob", "--json"),
        ("client", "link", "rob", "--profile", "bob", "--json"),
        ("client", "read", "--all", "--profile", "bob", "--json"),
        ("bench", "connect", "--users", "2", "--json"),
        ("bench", "send", "--users", "2", "--rate", "20/s", "--duration", "500ms", "--json"),
        ("bench", "fanout", "--users", "2", "--rate", "20/s", "--duration", "500ms", "--json"),
        ("bench", "idle", "--users", "2", "--duration", "500ms", "--json"),
    ):
        assert story.ran(*words).code == 0
    # The first has been read; the others print what `client swarm`s and `bench`es print, a minute later.
    assert LINES.keys() - story.validated == {"serve all", "client swarm", "bench storm"}


def play(story: Story, line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Runs all calls of a line, as far as they go well; the last exit code, and what was said on stderr."""
    if "PUSHCTL_PUSH_URL=" in line:
        monkeypatch.setenv("PUSHCTL_PUSH_URL", Path("first.txt").read_text().strip())
    stdin = Path("push_url.txt").read_bytes() if "push-url @-" in line else b"make: done\n"
    into = re.search(r"> (\S+)$", line)
    if line.startswith("pushctl client read Avk") or "--count 1" in line:
        assert run("send", "@first.txt", "another").code == 0
    done = Ran(0, "", "")
    for short, shorter in SHORTER.items():
        line = line.replace(short, shorter)
    for call in calls_in(line, "pushctl"):
        done = story.ran(*story.typed(call), stdin=stdin)
        if done.code:
            break
    if into is not None and "~" not in into[1]:
        Path(into[1]).write_text(done.out)
        if into[1] == "message.txt":
            Path(into[1]).write_text(done.lines[-1]["location"])
    monkeypatch.delenv("PUSHCTL_PUSH_URL", raising=False)
    return done.code, done.err.strip()
