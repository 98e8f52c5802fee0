"""What senders have always done, byte for byte as they put it on the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from pushctl.clock import system_clock
from pushctl.webpush.signing import VapidKey
from tests.scenario.people import Person, Town

KEY = VapidKey.generate()
PATIENCE_SECONDS = 10
BODY = b"x" * 30


async def subscribed(town: Town) -> tuple[Person, str]:
    ada = await town.login("ada")
    return ada, (await ada.allow())["url"]


def padded(text: str) -> str:
    return text + "=" * (-len(text) % 4)


class Wire:
    """A TCP connection to the api."""

    def __init__(self, town: Town, stream: trio.SocketStream) -> None:
        self.host = town.service.api.removeprefix("http://")
        self._stream = stream
        self._read = b""

    async def send(self, *lines: str, body: bytes = b"") -> None:
        await self._stream.send_all("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body)

    async def send_raw(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def head(self) -> tuple[int, str]:
        """(status, the lines behind it) of the next answer; what follows stays to be read."""
        while b"\r\n\r\n" not in self._read:
            chunk = await self._stream.receive_some(65_536)
            assert chunk, f"the connection ended behind {self._read!r}"
            self._read += bytes(chunk)
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, _, rest = head.decode().partition("\r\n")
        return int(first.split(" ")[1]), rest.lower()

    async def rest(self) -> bytes:
        """All up to the end of the connection."""
        while chunk := await self._stream.receive_some(65_536):
            self._read += bytes(chunk)
        return self._read


@asynccontextmanager
async def wire(town: Town) -> AsyncIterator[Wire]:
    host, port = town.service.api.removeprefix("http://").split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        with trio.fail_after(PATIENCE_SECONDS):
            yield Wire(town, stream)


def path_of(town: Town, url: str) -> str:
    return url.removeprefix(town.service.api)


async def test_names_of_headers_and_schemes_may_be_written_in_any_case(office: Town) -> None:
    ada, url = await subscribed(office)
    signed = KEY.authorization(url, system_clock())
    for scheme in ("vapid", "Vapid", "VAPID"):
        async with wire(office) as connection:
            await connection.send(
                f"POST {path_of(office, url)} HTTP/1.1",
                f"hOST: {connection.host}",
                "ttl: 60",
                "CONTENT-ENCODING: AES128GCM",
                f"AUTHORIZATION: {signed.replace('vapid', scheme)}",
                f"content-length: {len(BODY)}",
                body=BODY,
            )
            assert (await connection.head())[0] == 201
    assert [message["encoding"] for message in await ada.unread()] == ["aes128gcm"] * 3


async def test_quotes_and_padding_are_taken_off(office: Town) -> None:
    ada, url = await subscribed(office)
    token = KEY.authorization(url, system_clock()).partition("t=")[2].partition(",")[0]
    old = {
        "TTL": "60",
        "Topic": "dG9waWM=",
        "Content-Encoding": "aesgcm",
        "Encryption": 'keyid="p256dh"; salt="c2FsdHNhbHRzYWx0c2FsdA=="',
        "Crypto-Key": f'keyid="p256dh"; dh="ZGg=", p256ecdsa="{padded(KEY.public)}"',
        "Authorization": f"WebPush {token}",
    }
    answer = await office.http.post(url, content=BODY, headers=old)
    assert answer.status_code == 201, answer.text
    [message] = await ada.unread()
    assert message["topic"] == "dG9waWM"
    assert message["headers"] == {
        "encryption": "keyid=p256dh;salt=c2FsdHNhbHRzYWx0c2FsdA",
        "crypto_key": "keyid=p256dh;dh=ZGg",
    }


async def test_a_sender_that_speaks_http_1_0_is_answered_and_hung_up_on(office: Town) -> None:
    ada, url = await subscribed(office)
    async with wire(office) as connection:
        await connection.send(
            f"POST {path_of(office, url)} HTTP/1.0",
            "TTL: 60",
            "Content-Type: text/plain",
            "Content-Length: 5",
            body=b"hello",
        )
        status, head = await connection.head()
        assert status == 201
        assert "location: /message/" in head
        assert await connection.rest() == b""
    assert len(await ada.unread()) == 1


async def ask_first(connection: Wire, path: str, length: int) -> None:
    """As libraries do before a body that may be too much."""
    await connection.send(
        f"POST {path} HTTP/1.1",
        f"Host: {connection.host}",
        "TTL: 60",
        "Content-Encoding: aes128gcm",
        "Expect: 100-continue",
        f"Content-Length: {length}",
    )


async def test_a_sender_that_waits_for_100_continue_is_told_to_go_on(office: Town) -> None:
    ada, url = await subscribed(office)
    async with wire(office) as connection:
        await ask_first(connection, path_of(office, url), len(BODY))
        assert (await connection.head())[0] == 100
        await connection.send_raw(BODY)
        assert (await connection.head())[0] == 201
    assert len(await ada.unread()) == 1


async def test_a_sender_that_waits_with_too_much_is_spared_sending_it(office: Town) -> None:
    _, url = await subscribed(office)
    async with wire(office) as connection:
        await ask_first(connection, path_of(office, url), 10_000_000)
        assert (await connection.head())[0] == 413


async def test_a_body_in_chunks_is_one_body(office: Town) -> None:
    ada, url = await subscribed(office)
    async with wire(office) as connection:
        await connection.send(
            f"POST {path_of(office, url)} HTTP/1.1",
            f"Host: {connection.host}",
            "TTL: 60",
            "Content-Type: text/plain",
            "Transfer-Encoding: chunked",
        )
        for piece in (b"he", b"llo"):
            await connection.send_raw(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.send_raw(b"0\r\n\r\n")
        assert (await connection.head())[0] == 201
    [message] = await ada.unread()
    assert message["notification"]["body"] == "hello"


async def test_huge_bodies_are_refused_with_mozillas_number_and_empty_ones_are_messages(office: Town) -> None:
    ada, url = await subscribed(office)
    encoded = {"TTL": "60", "Content-Encoding": "aes128gcm"}
    for size in (4097, 100_000, 3_000_000):
        answer = await office.http.post(url, content=b"x" * size, headers=encoded)
        assert (answer.status_code, answer.json()["errno"]) == (413, 104)
    for headers in ({"TTL": "60"}, encoded, {"TTL": "60", "Content-Type": "application/octet-stream"}):
        assert (await office.http.post(url, headers=headers)).status_code == 201
    assert [(m["notification"], m["data"], m["encoding"]) for m in await ada.unread()] == [(None, None, None)] * 3


async def test_curl_may_leave_the_ttl_out_and_a_browsers_sender_is_told_that_it_may_not(office: Town) -> None:
    _, url = await subscribed(office)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await office.http.post(url, content=b"hello", headers=form)
    assert (answer.status_code, answer.headers["ttl"]) == (201, "259200")
    answer = await office.http.post(url, content=BODY, headers={"Content-Encoding": "aes128gcm"})
    assert (answer.status_code, answer.json()["errno"]) == (400, 111)
