"""The file of push URLs that a load goes to."""

from pathlib import Path

import pytest

from pushctl.client.targets import Target, read_targets
from pushctl.errors import ConfigError
from pushctl.webpush.encryption import DeviceKeys

SECRET = "s3cret-of-somebody"


def file_with(folder: Path, *lines: str, mode: int = 0o600) -> Path:
    path = folder / "targets.txt"
    path.write_text("\n".join(lines) + "\n")
    path.chmod(mode)
    return path


def test_one_a_line_with_comments_and_subscriptions_among_them(tmp_path: Path) -> None:
    keys = DeviceKeys.generate().public()
    subscription = (
        f'{{"endpoint":"https://b.example/push/2?x=1","keys":{{"p256dh":"{keys.p256dh}","auth":"{keys.auth}"}}}}'
    )
    path = file_with(tmp_path, "# ours", "", f" http://a.example:81/push/{SECRET} ", subscription)
    found = read_targets(path)
    assert found == [Target(f"http://a.example:81/push/{SECRET}"), Target("https://b.example/push/2?x=1", keys)]
    assert [(each.origin, each.path) for each in found] == [
        ("http://a.example:81", f"/push/{SECRET}"),
        ("https://b.example", "/push/2?x=1"),
    ]
    assert SECRET not in repr(found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    path = file_with(tmp_path, f"http://a.example/{SECRET}", mode=mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_targets(path)


@pytest.mark.parametrize(
    "line",
    [
        f"ftp://a.example/{SECRET}",
        f"http://:80/{SECRET}",
        f"http://a.example:0/{SECRET}",
        f"http://a.example:{SECRET}/",
        f"http://a.example/{SECRET} x",
        f"http://a.example/{SECRET}é",
        SECRET,
        f'{{"endpoint": "{SECRET}"}}',
    ],
)
def test_every_line_that_is_none_is_named_and_not_repeated(line: str, tmp_path: Path) -> None:
    path = file_with(tmp_path, "http://a.example/good", line, line)
    with pytest.raises(ConfigError) as refused:
        read_targets(path)
    assert [mistake.partition(": ")[0] for mistake in refused.value.mistakes] == [f"{path}, line {n}" for n in (2, 3)]
    assert SECRET not in str(refused.value)


def test_very_many_mistakes_are_not_all_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_targets(file_with(tmp_path, *["x"] * 500))
    assert len(refused.value.mistakes) == 11


def test_a_file_that_is_empty_or_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no push URL in it"):
        read_targets(file_with(tmp_path, "# nothing"))
    with pytest.raises(ConfigError, match="No such file"):
        read_targets(tmp_path / "nowhere")
