"""Fetching documents of strangers: real https servers, and every way they may misbehave."""

import gzip
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from pushctl.identity.fetch import MAX_ADDRESSES, Document, Fetcher, FetchFailed, FetchRules
from tests.certificates import write_certificates
from tests.internet import PUBLIC, Internet, answer, open_internet

HOST = "idp.push-tests.net"
URL = f"https://{HOST}/document?domain=a"
GOOD = answer('{"a": 1}')


@pytest.fixture
async def internet(tmp_path: Path) -> AsyncIterator[Internet]:
    async with open_internet(tmp_path / "certificates") as internet:
        internet.handlers[HOST] = GOOD
        yield internet


def fetcher(internet: Internet, **rules: Any) -> Fetcher:
    defaults: dict[str, Any] = {"max_bytes": 1000, "timeout_seconds": 5.0, "ca_file": internet.ca_file}
    return internet.fetcher(FetchRules(**defaults | rules))


async def failure(fetcher: Fetcher, url: str = URL) -> FetchFailed:
    with trio.fail_after(20), pytest.raises(FetchFailed) as caught:
        await fetcher.get(url)
    return caught.value


async def test_a_document_comes_from_the_address_that_was_looked_at_under_the_name_that_was_asked_for(
    internet: Internet,
) -> None:
    assert await fetcher(internet).get(URL) == Document(b'{"a": 1}', None)
    assert internet.requests == [f"{HOST}/document?domain=a"]
    assert (internet.resolved, internet.connected) == ([HOST], [PUBLIC])


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("max-age=600", 600),
        ('public, Max-Age="60"', 60),
        ("no-store", 0),
        ("max-age=600, no-cache", 0),
        ("max-age=-1", None),
        ("max-age=99999999999999999999", 999_999_999),
        ("private", None),
    ],
)
async def test_a_document_says_how_long_it_may_be_kept(control: str, seconds: int | None, internet: Internet) -> None:
    internet.handlers[HOST] = answer("{}", f"Cache-Control: {control}")
    assert (await fetcher(internet).get(URL)).max_age_seconds == seconds


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/",
        f"ftp://{HOST}/",
        f"https://user@{HOST}/",
        f"https://user:x@{HOST}/",
        f"https://{HOST}/#x",
        "https://",
        "https:///x",
        "file:///etc/passwd",
        "/x",
        "",
        "https://[::1",
        f"https://{HOST}:99999/",
        f"https://{HOST}/\n",
    ],
)
async def test_only_https_urls_of_documents_are_asked_for(url: str, internet: Internet) -> None:
    assert (await failure(fetcher(internet), url)).why == "invalid"
    assert not internet.resolved


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "::ffff:1.1.1.1", "fe80::1"]
)
@pytest.mark.parametrize("beside", [(), (PUBLIC,)])
async def test_a_name_that_leads_to_an_address_that_is_not_public_is_not_connected_to(
    address: str, beside: tuple[str, ...], internet: Internet
) -> None:
    internet.addresses[HOST] = (*beside, address)
    failed = await failure(fetcher(internet))
    assert (failed.why, str(failed)) == (
        "unavailable",
        "the name leads to an address that is not of the open Internet",
    )
    assert not internet.connected


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://0/"])
async def test_an_address_in_a_url_is_looked_at_like_any_other(url: str, internet: Internet) -> None:
    # By the system's own resolver, which reads "0" as 0.0.0.0.
    rules = FetchRules(max_bytes=1000, timeout_seconds=5, ca_file=internet.ca_file)
    assert (await failure(Fetcher(rules), url)).why == "unavailable"


async def test_by_default_nothing_on_this_machine_is_fetched_and_any_network_must_be_said(internet: Internet) -> None:
    url = f"https://localhost:{internet.port}/x"
    write_certificates(internet.folder)  # now for localhost
    internet.handlers[f"localhost:{internet.port}"] = GOOD
    rules: dict[str, Any] = {"max_bytes": 1000, "timeout_seconds": 5, "ca_file": internet.ca_file}

    assert (await failure(Fetcher(FetchRules(**rules)), url)).why == "unavailable"
    assert (await Fetcher(FetchRules(**rules, networks="any")).get(url)).body == b'{"a": 1}'


async def test_plain_http_is_for_this_machine_alone_and_only_if_allowed(internet: Internet) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(GOOD)
        await stream.aclose()

    rules: dict[str, Any] = {"max_bytes": 1000, "timeout_seconds": 5, "networks": "any"}
    async with trio.open_nursery() as nursery:
        listeners: Any = await nursery.start(trio.serve_tcp, serve, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/x"
        assert (await Fetcher(FetchRules(**rules, allow_http_loopback=True)).get(url)).body == b'{"a": 1}'
        assert (await failure(Fetcher(FetchRules(**rules)), url)).why == "invalid"
        nursery.cancel_scope.cancel()

    internet.addresses["both.push-tests.net"] = ("127.0.0.1", "10.0.0.1")
    for host in (HOST, "both.push-tests.net"):
        allowing = fetcher(internet, networks="any", allow_http_loopback=True)
        assert (await failure(allowing, f"http://{host}/")).why == "invalid"
    assert not internet.connected


async def test_a_certificate_for_another_name_is_not_believed(internet: Internet) -> None:
    internet.addresses["idp.elsewhere.net"] = (PUBLIC,)
    failed = await failure(fetcher(internet), "https://idp.elsewhere.net/")
    assert failed.why == "unavailable"
    assert "certificate" in str(failed).lower()
    assert not internet.requests


async def test_a_certificate_by_an_unknown_authority_is_not_believed(internet: Internet, tmp_path: Path) -> None:
    other = write_certificates(tmp_path / "other")
    for ca_file in (str(other), ""):
        assert (await failure(fetcher(internet, ca_file=ca_file))).why == "unavailable"
    assert not internet.requests


async def test_a_certificate_that_has_ended_is_not_believed(internet: Internet) -> None:
    write_certificates(internet.folder, host="*.push-tests.net", days=-1)
    assert (await failure(fetcher(internet))).why == "unavailable"
    assert not internet.requests


@pytest.mark.parametrize(
    ("status", "why"),
    [
        *((status, "absent") for status in (404, 410)),
        *((status, "invalid") for status in (201, 204, 206, 301, 302, 303, 307, 308, 400, 401, 403, 418)),
        *((status, "unavailable") for status in (429, 500, 502, 503, 599)),
    ],
)
async def test_a_status_says_why_there_is_no_document(status: int, why: str, internet: Internet) -> None:
    internet.handlers[HOST] = answer("{}", f"Location: https://{HOST}/other", status=status)
    assert (await failure(fetcher(internet))).why == why
    assert internet.requests == [f"{HOST}/document?domain=a"], "a redirect was followed"


@pytest.mark.parametrize("host", ["xn--ff.net", "xn--bcb.net", "a.xn--405szok5q91f-gewl.com", "xn--a.xn--hhfv"])
async def test_a_name_that_cannot_be_read_is_asked_for_as_it_is_spelled(host: str, internet: Internet) -> None:
    assert (await failure(fetcher(internet), f"https://{host}/document")).why == "unavailable"
    assert internet.resolved == [host]
    internet.addresses[host] = ("127.0.0.1",)
    assert (await failure(fetcher(internet), f"https://{host}/document")).why == "unavailable"


@pytest.mark.parametrize("location", ["http:x", "https:", "//[", "a:b:c://", "\u00e9:", "https://xn--a/", "x" * 50_000])
async def test_a_redirect_to_what_is_no_url_is_a_document_against_the_rules(location: str, internet: Internet) -> None:
    internet.handlers[HOST] = answer("{}", f"Location: {location}", status=302)
    assert (await failure(fetcher(internet))).why == "invalid"


@pytest.mark.parametrize("content_type", ["text/html", "", "application/jsonp", "text/json", "application/json5"])
async def test_another_content_type_is_no_document(content_type: str, internet: Internet) -> None:
    internet.handlers[HOST] = answer("{}", content_type=content_type)
    assert (await failure(fetcher(internet))).why == "invalid"


async def test_a_content_type_may_have_parameters_and_be_another_that_was_asked_for(internet: Internet) -> None:
    internet.handlers[HOST] = answer("{}", content_type="Application/JSON; charset=utf-8")
    assert (await fetcher(internet).get(URL)).body == b"{}"
    internet.handlers[HOST] = answer("{}", content_type="application/jwk-set+json")
    types = frozenset({"application/json", "application/jwk-set+json"})
    assert (await fetcher(internet, content_types=types).get(URL)).body == b"{}"


async def test_a_body_may_have_as_many_bytes_as_allowed_and_not_one_more(internet: Internet) -> None:
    internet.handlers[HOST] = answer("x" * 1000)
    assert len((await fetcher(internet).get(URL)).body) == 1000
    internet.handlers[HOST] = answer("x" * 1001)
    assert str(await failure(fetcher(internet))) == "larger than 1000 bytes"


async def test_a_body_that_never_ends_is_given_up_on_when_it_is_too_large(internet: Internet) -> None:
    async def endless(_target: str, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await stream.send_all(b"64\r\n" + b"x" * 100 + b"\r\n")

    internet.handlers[HOST] = endless
    assert str(await failure(fetcher(internet))) == "larger than 1000 bytes"


async def test_a_length_that_is_too_large_is_believed_before_the_body_comes(internet: Internet) -> None:
    async def only_promised(_target: str, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 1001\r\n\r\n")
        await trio.sleep_forever()

    internet.handlers[HOST] = only_promised
    assert str(await failure(fetcher(internet))) == "larger than 1000 bytes"


async def test_a_compressed_body_is_not_unpacked(internet: Internet) -> None:
    internet.handlers[HOST] = answer(gzip.compress(b"{" + b" " * 10**6 + b"}")[:900], "Content-Encoding: gzip")
    assert str(await failure(fetcher(internet))) == "compressed"


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\n\r\n{"]
)
async def test_a_server_that_stops_in_the_middle_costs_no_more_than_the_time_that_was_given(
    said: bytes, internet: Internet
) -> None:
    async def stop(_target: str, stream: trio.abc.Stream) -> None:
        if said:
            await stream.send_all(said)
        await trio.sleep_forever()

    internet.handlers[HOST] = stop
    began = trio.current_time()
    failed = await failure(fetcher(internet, timeout_seconds=0.5))
    assert (failed.why, str(failed)) == ("unavailable", "no whole answer within 0.5 s")
    assert trio.current_time() - began < 5


async def test_bytes_that_trickle_in_do_not_buy_time(internet: Internet) -> None:
    async def trickle(_target: str, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n")
        while True:
            await stream.send_all(b"x")
            await trio.sleep(0.05)

    internet.handlers[HOST] = trickle
    assert str(await failure(fetcher(internet, timeout_seconds=0.5))) == "no whole answer within 0.5 s"


async def test_a_name_server_that_does_not_answer_costs_no_more_either(internet: Internet) -> None:
    async def resolve(_host: str, _port: int) -> Any:
        await trio.sleep_forever()

    rules = FetchRules(max_bytes=1000, timeout_seconds=0.3)
    assert str(await failure(Fetcher(rules, resolve=resolve))) == "no whole answer within 0.3 s"


async def test_what_is_not_http_is_a_broken_connection(internet: Internet) -> None:
    for said in (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 999999 X\r\n\r\n", answer("x" * 100)[:-50]):
        internet.handlers[HOST] = said
        assert (await failure(fetcher(internet))).why == "unavailable"


async def test_headers_without_end_are_not_read_for_ever(internet: Internet) -> None:
    async def endless(_target: str, stream: trio.abc.Stream) -> None:
        await stream.send_all(b"HTTP/1.1 200 X\r\n")
        while True:
            await stream.send_all(b"X-Filler: " + b"x" * 1000 + b"\r\n")

    internet.handlers[HOST] = endless
    assert str(await failure(fetcher(internet))).startswith("the connection broke")


async def test_the_next_address_is_tried_when_one_does_not_answer(internet: Internet) -> None:
    internet.addresses[HOST] = ("1.1.1.1", PUBLIC)
    internet.dead = {"1.1.1.1"}
    assert (await fetcher(internet).get(URL)).body
    assert internet.connected == ["1.1.1.1", PUBLIC]


async def test_a_name_with_many_addresses_is_tried_at_a_few(internet: Internet) -> None:
    internet.addresses[HOST] = [f"1.1.1.{last}" for last in range(1, 50)]
    internet.dead = set(internet.addresses[HOST])
    assert (await failure(fetcher(internet))).why == "unavailable"
    assert len(internet.connected) == MAX_ADDRESSES


async def test_a_name_without_an_address_is_unavailable(internet: Internet) -> None:
    internet.addresses[HOST] = ()
    for url in (URL, "https://unknown.example/"):
        assert (await failure(fetcher(internet), url)).why == "unavailable"


async def test_a_name_that_no_resolver_takes_is_unavailable() -> None:
    rules = FetchRules(max_bytes=1000, timeout_seconds=5)
    assert (await failure(Fetcher(rules), f"https://{'a' * 70}.localhost/")).why == "unavailable"


async def test_no_proxy_of_the_environment_is_used(internet: Internet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await fetcher(internet).get(URL)).body


def test_a_file_of_authorities_that_holds_none_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ssl.SSLError):
        Fetcher(FetchRules(max_bytes=1, timeout_seconds=1, ca_file=str(tmp_path / "empty.pem")))
    with pytest.raises(FileNotFoundError):
        Fetcher(FetchRules(max_bytes=1, timeout_seconds=1, ca_file=str(tmp_path / "missing.pem")))
