"""conf.d/ and the configuration model describe each other, in both directions."""

import re
from pathlib import Path

from pushctl.config.load import load
from pushctl.config.model import ROLE_NAMES, Config
from pushctl.config.render import default_files
from pushctl.config.schema import keys

FILES = Path(__file__).parents[2] / "conf.d"


def test_the_files_are_what_the_model_says() -> None:
    written = {file.name: file.read_text() for file in FILES.iterdir()}
    assert written == default_files(), "conf.d/ is not what `pushctl config init conf.d` writes: delete it and run that"


def test_there_is_a_file_for_what_all_share_and_one_for_each_role() -> None:
    assert {file.name for file in FILES.iterdir()} == {"10-common.toml", *(f"20-{role}.toml" for role in ROLE_NAMES)}


def test_as_they_are_the_files_change_nothing() -> None:
    loaded = load([FILES], [], {})
    assert loaded.config == Config()
    assert set(loaded.sources.values()) == {"default"}


def test_with_every_comment_sign_removed_each_key_is_set_once_and_to_its_default(tmp_path: Path) -> None:
    seen: list[str] = []
    for file in FILES.iterdir():
        text = re.sub(r"^#(?=[a-z_]+ = )", "", file.read_text(), flags=re.MULTILINE)
        (tmp_path / file.name).write_text(text)
        table = ""
        for line in text.splitlines():
            if line.startswith("["):
                table = line.strip("[]")
            elif " = " in line and not line.startswith("#"):
                seen.append(f"{table}.{line.split(' = ')[0]}")
    assert sorted(seen) == sorted(keys())
    loaded = load([tmp_path], [], {})
    assert loaded.config == Config()
    assert "default" not in loaded.sources.values()
