"""Which URLs lead to this machine alone."""

import pytest

from pushctl.client.loopback import is_loopback


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://[::1]:8080", True),
        ("http://localhost", True),
        ("http://dev-idp.localhost", True),
        ("https://push.example", False),
        ("http://10.0.0.1", False),
    ],
)
def test_what_is_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
