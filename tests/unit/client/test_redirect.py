"""The page that a browser comes back to: one answer counts, and nothing else gets in its way."""

from collections.abc import Mapping

import httpx
import pytest
import trio

from pushctl.client.redirect import AT_ONCE, MAX_BYTES, Redirect, redirect
from pushctl.errors import Failed

STATE = "s" * 43


async def get(uri: str, **parameters: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as browser:
        return await browser.get(uri, params=parameters)


async def answer(to: Redirect, into: list[Mapping[str, str]]) -> None:
    with trio.fail_after(10):
        into.append(await to.answer(STATE))


async def test_the_answer_with_our_state_counts_and_a_person_is_told() -> None:
    got: list[Mapping[str, str]] = []
    async with redirect() as back, trio.open_nursery() as nursery:
        assert back.uri.startswith("http://127.0.0.1:")
        nursery.start_soon(answer, back, got)
        page = await get(back.uri, state=STATE, code="c 1", iss="https://accounts.example/")

    assert got == [{"state": STATE, "code": "c 1", "iss": "https://accounts.example/"}]
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Close this page" in page.text


async def test_what_is_not_the_answer_is_refused_and_the_answer_still_comes() -> None:
    got: list[Mapping[str, str]] = []
    async with redirect() as back, trio.open_nursery() as nursery:
        nursery.start_soon(answer, back, got)
        base = back.uri.removesuffix("/callback")
        for url in (
            f"{back.uri}?code=stolen&state=other",
            f"{back.uri}?code=stolen",
            f"{back.uri}?code=stolen&state={STATE}&state={STATE}",
            f"{back.uri}/more?state={STATE}",
            f"{base}/favicon.ico",
            f"{base}//127.0.0.1/callback?state={STATE}",
        ):
            assert (await get(url)).status_code == 400
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.post(f"{back.uri}?state={STATE}")).status_code == 400
        assert not got
        await get(back.uri, state=STATE, error="access_denied")

    assert got[0]["error"] == "access_denied"


async def test_connections_that_say_nothing_or_nonsense_do_not_keep_the_answer_out() -> None:
    got: list[Mapping[str, str]] = []
    async with redirect() as back, trio.open_nursery() as nursery:
        nursery.start_soon(answer, back, got)
        port = int(back.uri.split(":")[2].split("/")[0])
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(AT_ONCE - 1)]
        for garbage in (b"\xff\xfe\r\n\r\n", b"GET\r\n\r\n", b"x" * (MAX_BYTES + 1), b""):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(garbage)
            await stream.aclose()
        await get(back.uri, state=STATE, code="c")
        for stream in idle:
            await stream.aclose()

    assert got[0]["code"] == "c"


async def test_a_port_that_is_taken_is_said() -> None:
    async with redirect() as back:
        port = int(back.uri.split(":")[2].split("/")[0])
        with pytest.raises(Failed, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            async with redirect(port):
                pass
