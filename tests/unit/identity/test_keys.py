"""The keys file, and the ids that its secrets make."""

import os
import stat
import subprocess
import sys
import tomllib
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from pushctl.config.load import load
from pushctl.config.model import Identity
from pushctl.errors import ConfigError, Failed
from pushctl.identity.keys import Key, Keys, change
from pushctl.identity.peers import PeerKeys
from pushctl.identity.principals import Principal
from pushctl.identity.sealing import Sealer
from pushctl.ids import b64url

ALICE = Principal("browserid", "", "alice@idp.example")
FIRST, SECOND = (b64url(bytes([letter]) * 32) for letter in (1, 2))
THIRD, FOURTH = (b64url(bytes([letter]) * 32) for letter in (3, 4))

GOOD = f"""
installation = "home"
[[sealing]]
id = "AAAA"
secret = "{FIRST}"
[[sealing]]
id = "BBBB"
secret = "{SECOND}"
[[user_id]]
id = "AAAA"
secret = "{THIRD}"
[identity_index]
secret = "{FOURTH}"
"""


def secret_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def mistakes_of(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Keys.load(secret_file(tmp_path, text))
    return caught.value.mistakes


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    keys = replace(Keys.generate(), sealing_keys=(Key.generate("opens"), Key.generate("seals")))

    keys.write(tmp_path / "keys.toml")

    assert Keys.load(tmp_path / "keys.toml") == keys


def test_a_file_written_by_hand_is_read_in_its_order(tmp_path: Path) -> None:
    keys = Keys.load(secret_file(tmp_path, GOOD))

    assert keys.installation == "home"
    assert [key.id for key in keys.sealing_keys] == ["AAAA", "BBBB"]
    assert keys.identity_index == bytes([4]) * 32


def test_the_file_tells_a_person_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    Keys.generate().write(path)

    text = path.read_text()

    assert "Keep it secret" in text
    assert "Back it up" in text
    assert {"installation", "sealing", "user_id", "identity_index"} == tomllib.loads(text).keys()
    assert "[[sealing]]" in text
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_only_the_owner_may_use_the_file_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "keys.toml"
    before = os.umask(umask)
    try:
        Keys.generate().write(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, GOOD)
    path.chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600"):
        Keys.load(path)


def test_a_file_that_only_its_owner_may_read_is_fine(tmp_path: Path) -> None:
    path = secret_file(tmp_path, GOOD)
    path.chmod(0o400)

    assert Keys.load(path).installation == "home"


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    first = Keys.generate()
    first.write(path)

    with pytest.raises(Failed, match="exists already"):
        Keys.generate().write(path)

    assert Keys.load(path) == first
    assert os.listdir(tmp_path) == ["keys.toml"]


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="No such file"):
        Keys.generate().write(tmp_path / "nowhere" / "keys.toml")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pushctl keys new"):
        Keys.load(tmp_path / "keys.toml")


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        Keys.load(tmp_path)


def test_every_mistake_is_named_at_once_and_no_secret_is_quoted(tmp_path: Path) -> None:
    mistakes = mistakes_of(
        tmp_path,
        f"""
installation = "two words"
seeling = 1
[[sealing]]
id = "AAAA"
secret = "{FIRST}"
note = "mine"
[[sealing]]
id = "AAAA"
secret = "{FIRST}"
[[sealing]]
id = "AAAAA"
secret = "{FIRST}="
[identity_index]
secret = "{FOURTH[:-2]}"
""",
    )

    assert [mistake.split(": ")[1] for mistake in mistakes] == [
        "seeling",
        "installation",
        "sealing[0].note",
        "sealing[1].secret",
        "sealing[2].id",
        "sealing[2].secret",
        "sealing",
        "user_id",
        "identity_index.secret",
    ]
    assert not any(FIRST[:20] in mistake or FOURTH[:20] in mistake for mistake in mistakes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sealing = []\nuser_id = 7\nidentity_index = []",
        GOOD.replace("[[sealing]]", "[sealing]", 1).replace(f'[[sealing]]\nid = "BBBB"\nsecret = "{SECOND}"', ""),
        GOOD.replace("[[user_id]]", "[user_id]"),
        "user_id = [7]" + GOOD.replace("[[user_id]]", "[[other]]"),
        GOOD.replace('"home"', "7"),
        GOOD.replace(f'"{FIRST}"', "7"),
        GOOD.replace(f'"{FIRST}"', f'"{FIRST}+"'),
        GOOD + "x",
        GOOD + "#" * 65_536,
    ],
)
def test_a_file_that_is_not_well_formed_is_refused_with_its_path(tmp_path: Path, text: str) -> None:
    for mistake in mistakes_of(tmp_path, text):
        assert mistake.startswith(str(tmp_path))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = secret_file(tmp_path, GOOD)
    path.write_bytes(b"\xff\xfe")

    with pytest.raises(ConfigError, match="UTF-8"):
        Keys.load(path)


def test_no_secret_is_in_a_repr() -> None:
    keys = Keys.generate()

    text = repr(keys)

    assert keys.sealing_keys[0].id in text
    for secret in (keys.identity_index, keys.sealing_keys[0].secret, keys.user_id_keys[0].secret):
        assert repr(secret) not in text
        assert b64url(secret) not in text


def test_an_index_entry_is_the_hmac_of_the_principal() -> None:
    keys = replace(Keys.generate(), identity_index=bytes(range(32)))

    # The vector for this key and address in the design of the storage token: base64url of HMAC-SHA256.
    assert keys.index_entry(ALICE) == "jvzw1r385CDHuUmtP6wRBByte52h0m6f5Upqe2tuBKk"


def test_a_user_id_is_the_first_16_bytes_of_the_hmac() -> None:
    keys = replace(Keys.generate(), user_id_keys=(Key("AAAA", bytes(range(32))),))

    assert keys.user_id(ALICE) == "jvzw1r385CDHuUmtP6wRBA"


def test_a_user_id_follows_the_principal_and_its_key_only() -> None:
    keys = Keys.generate()
    bob = replace(ALICE, subject="bob@idp.example")

    assert keys.user_id(ALICE) == replace(keys, identity_index=bytes(32)).user_id(ALICE)
    assert keys.user_id(ALICE) != keys.user_id(bob)
    assert keys.user_id(ALICE) != Keys.generate().user_id(ALICE)
    assert keys.index_entry(ALICE) != keys.index_entry(bob)


def test_a_new_user_id_key_leaves_the_old_id_findable() -> None:
    keys = Keys.generate()
    rotated = replace(keys, user_id_keys=(Key.generate(), *keys.user_id_keys))

    assert rotated.user_id(ALICE) != keys.user_id(ALICE)
    assert rotated.index_entry(ALICE) == keys.index_entry(ALICE)


# --- states, and several keys of the index ---------------------------------------------------------------------------


def states_of(tmp_path: Path, text: str) -> list[tuple[str, str | None]]:
    return [(key.id, key.state) for key in Keys.load(secret_file(tmp_path, text)).sealing_keys]


def with_states(*states: str) -> str:
    text = GOOD
    for key_id, state in zip(("AAAA", "BBBB"), states, strict=True):
        text = text.replace(f'id = "{key_id}"\nsecret', f'id = "{key_id}"\nstate = "{state}"\nsecret', 1)
    return text


def test_the_state_says_which_key_seals_whatever_the_order(tmp_path: Path) -> None:
    assert states_of(tmp_path, with_states("opens", "seals")) == [("AAAA", "opens"), ("BBBB", "seals")]
    keys = Keys.load(tmp_path / "keys.toml")
    assert Sealer(keys).key_id == "BBBB"
    assert PeerKeys(keys).sign("p", 0, b"").startswith("BBBB.")


def test_without_any_state_the_first_seals(tmp_path: Path) -> None:
    assert states_of(tmp_path, GOOD) == [("AAAA", "seals"), ("BBBB", "opens")]


def test_what_has_no_state_beside_one_that_has_only_opens(tmp_path: Path) -> None:
    text = with_states("opens", "seals").replace('state = "opens"\n', "")
    assert states_of(tmp_path, text) == [("AAAA", "opens"), ("BBBB", "seals")]


@pytest.mark.parametrize(
    ("states", "complaint"),
    [(("opens", "opens"), 'needs state = "seals"'), (("seals", "sealing"), 'expected "seals" or "opens"')],
)
def test_a_state_that_makes_no_sense_is_a_mistake(tmp_path: Path, states: tuple[str, str], complaint: str) -> None:
    (mistake,) = mistakes_of(tmp_path, with_states(*states))
    assert complaint in mistake


def test_an_index_with_two_keys_is_looked_under_both_newest_first(tmp_path: Path) -> None:
    keys = Keys.generate()
    newer = Key.generate()
    both = keys.with_index(newer, *keys.index_keys)
    both.write(tmp_path / "keys.toml")
    again = Keys.load(tmp_path / "keys.toml")
    assert again == both
    newest, oldest = again.index_entries(ALICE)
    assert newest.startswith(f"{newer.id}.")
    assert oldest == keys.index_entry(ALICE)
    assert again.index_entry(ALICE) == newest


def test_two_keys_of_the_index_without_an_id_are_a_mistake(tmp_path: Path) -> None:
    index = f'[[identity_index]]\nsecret = "{FOURTH}"\n[[identity_index]]\nsecret = "{b64url(bytes(32))}"'
    text = GOOD.replace(f'[identity_index]\nsecret = "{FOURTH}"', index)
    (mistake,) = mistakes_of(tmp_path, text)
    assert "same id, or none" in mistake


# --- a change, and keys without a file -------------------------------------------------------------------------------


def test_a_change_replaces_the_file_whole_and_private_and_keeps_what_it_tells_a_person(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    Keys.generate().write(path)
    told = [line for line in path.read_text().splitlines() if line.startswith("#")]
    path.chmod(0o400)
    before = os.umask(0)
    try:
        changed = change(path, lambda keys: keys.with_sealing(*keys.sealing_keys, Key.generate("opens")))
    finally:
        os.umask(before)
    assert Keys.load(path) == changed
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [line for line in path.read_text().splitlines() if line.startswith("#")] == told
    assert os.listdir(tmp_path) == ["keys.toml"]


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    Keys.generate().write(path)
    before = path.read_bytes()

    def refuse(_: Keys) -> Keys:
        raise Failed("no")

    with pytest.raises(Failed):
        change(path, refuse)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["keys.toml"]


def test_changes_at_the_same_time_do_not_undo_each_other(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    Keys.generate().write(path)
    script = (
        "import sys; from pathlib import Path; from pushctl.identity.keys import Key, change\n"
        "for _ in range(5): change(Path(sys.argv[1]), lambda k: k.with_sealing(*k.sealing_keys, Key.generate('opens')))"
    )
    writers = [subprocess.Popen([sys.executable, "-c", script, str(path)]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(Keys.load(path).sealing_keys) == 16


def test_keys_come_from_the_environment_as_well_as_from_a_file(tmp_path: Path) -> None:
    keys = Keys.generate()
    (tmp_path / "secret").write_text(keys.text())
    (tmp_path / "secret").chmod(0o444)  # as containers mount them
    for environ in (
        {"PUSHCTL_IDENTITY__KEYS_TOML": keys.text()},
        {"PUSHCTL_IDENTITY__KEYS_TOML_FILE": str(tmp_path / "secret")},
    ):
        identity = load(None, [], environ, default_directory=tmp_path / "none").config.identity
        assert Keys.needed(identity) == keys
        assert b64url(keys.identity_index) not in repr(identity)
    with pytest.raises(ConfigError, match="required"):
        Keys.needed(Identity())


def test_a_mistake_in_keys_from_the_environment_names_its_key_and_quotes_nothing() -> None:
    keys = Keys.generate()
    identity = Identity(keys_toml=keys.text().replace("[[user_id]]", "[[user]]"))
    with pytest.raises(ConfigError) as caught:
        Keys.needed(identity)
    said = "".join(traceback.format_exception(caught.value)) + str(caught.value)
    assert "identity.keys_toml: user: unknown" in said
    for secret in (keys.identity_index, keys.sealing_keys[0].secret, keys.user_id_keys[0].secret):
        assert b64url(secret) not in said
