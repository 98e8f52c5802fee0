"""The configuration, looked at on the machine where it is."""

from pathlib import Path

import pytest
import trio

from pushctl.checkup import Finding, Here, examine_configuration
from pushctl.config.load import load
from pushctl.config.model import RoleName
from pushctl.identity.keys import Keys
from tests.certificates import write_certificates


def verdicts(*sets: str, roles: tuple[RoleName, ...] = ()) -> dict[str, Finding]:
    """The findings by their check; the first of each."""
    config = load(None, sets, {}, default_directory=Path("/nonexistent")).config
    found: dict[str, Finding] = {}
    for finding in trio.run(examine_configuration, Here(config, roles)):
        found.setdefault(finding.check, finding)
    return found


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    Keys.generate().write(tmp_path / "keys.toml")
    return tmp_path / "keys.toml"


def test_a_good_keys_file_is_named_by_its_installation_and_no_secret_of_it_is_shown(keys_file: Path) -> None:
    keys = Keys.load(keys_file)
    finding = verdicts(f"identity.keys_file={keys_file}")["keys_file"]
    assert finding.verdict == "ok"
    assert keys.installation in finding.found
    secrets = [line.split('"')[1] for line in keys_file.read_text().splitlines() if line.startswith("secret")]
    assert secrets
    assert not any(secret in str(finding) for secret in secrets)


def test_a_keys_file_that_others_may_read_is_bad(keys_file: Path) -> None:
    keys_file.chmod(0o640)
    finding = verdicts(f"identity.keys_file={keys_file}")["keys_file"]
    assert finding.verdict == "bad"
    assert "chmod 600" in finding.found


def test_a_keys_file_that_is_not_there_is_bad(tmp_path: Path) -> None:
    assert verdicts(f"identity.keys_file={tmp_path / 'keys.toml'}")["keys_file"].verdict == "bad"


def test_no_keys_file_is_bad_for_a_role_that_needs_it_and_worth_a_word_for_nobody_in_particular() -> None:
    assert verdicts(roles=("api",))["keys_file"].verdict == "bad"
    assert verdicts()["keys_file"].verdict == "warn"


def test_a_role_that_is_named_is_told_everything_it_misses() -> None:
    finding = verdicts(roles=("boxoffice",))["roles"]
    assert (finding.verdict, finding.found.split(":")[0]) == ("bad", "boxoffice.public_url")
    assert verdicts("boxoffice.public_url=https://b.example", roles=("boxoffice",))["roles"].verdict == "ok"
    assert verdicts()["roles"].verdict == "ok"


@pytest.mark.parametrize(
    ("url", "verdict"),
    [("http://push.example", "warn"), ("https://push.example", "ok"), ("http://127.0.0.1:8080", "ok")],
)
def test_urls_in_the_clear_are_for_loopback_only(url: str, verdict: str) -> None:
    assert verdicts(f"api.public_url={url}")["public_urls"].verdict == verdict


def test_urls_that_nobody_set_are_unknown() -> None:
    assert verdicts()["public_urls"].verdict == "unknown"
    assert "public_urls" not in verdicts(roles=("gc",))


@pytest.mark.parametrize(("days", "verdict"), [(100, "ok"), (13, "warn"), (-1, "bad")])
def test_a_certificate_that_ends_soon_is_worth_a_word_and_one_that_has_ended_is_bad(
    tmp_path: Path, days: float, verdict: str
) -> None:
    write_certificates(tmp_path, days=days)
    finding = verdicts(f"api.tls_certificate={tmp_path / 'server.pem'}", f"api.tls_key={tmp_path / 'server.key'}")[
        "tls"
    ]
    assert finding.verdict == verdict
    assert "server.pem" in finding.found
    assert bool(finding.do) == (verdict != "ok")


def test_files_of_tls_that_do_not_serve_are_bad_and_named() -> None:
    finding = verdicts("api.tls_certificate=/nowhere.pem", "api.tls_key=/nowhere.key")["tls"]
    assert finding.verdict == "bad"
    assert "/nowhere.pem" in finding.found
    assert "/nowhere.key" in finding.found
    assert verdicts()["tls"].verdict == "ok"


def test_the_development_provider_is_worth_a_word_and_half_of_it_is_a_mistake() -> None:
    half = "identity.dev_idp.enabled=true"
    both = (half, "identity.environment=development")
    assert verdicts()["dev_idp"].verdict == "ok"
    assert verdicts(half)["roles"].verdict == "bad"
    found = verdicts(*both)
    assert (found["roles"].verdict, found["dev_idp"].verdict) == ("ok", "warn")
    open_to_all = verdicts(*both, "api.listen=0.0.0.0:80")
    assert open_to_all["roles"].verdict == "bad"
