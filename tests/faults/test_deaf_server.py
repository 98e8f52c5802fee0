"""A socket server whose channel went deaf without a word: it says so, gets no new clients, and mends itself."""

from dataclasses import replace

import httpx
import pytest
import trio

from pushctl.config.model import Config
from pushctl.testing.service import running
from roles.socket.serve import SocketRole
from tests.conftest import RedisProcess
from tests.faults.proxy import proxy
from tests.scenario.people import Town, eventually
from tests.scenario.test_socket import body_of


async def test_a_deaf_server_is_not_ready_and_not_named_until_it_hears_again_and_misses_nothing(
    config: Config, redis_process: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SocketRole, "probe_seconds", 0.3)
    monkeypatch.setattr(SocketRole, "answer_seconds", 0.3)
    async with proxy(str(redis_process.path), b"SUBSCRIBE") as between:
        behind = replace(config, redis=replace(config.redis, url=between.url, timeout_seconds=1))
        async with running(behind, sockets=1) as service, httpx.AsyncClient() as http:
            town = Town(service, http)
            phone = await town.login("ada")
            push_url = await phone.allow()

            async def state() -> tuple[int, str, int]:
                """Of its /readyz; of the Box Office's answer."""
                ready = await http.get(service.admin["s1"] + "/readyz")
                bearer = {"Authorization": f"Bearer {phone.token}"}
                servers = await http.get(service.boxoffice + "/v1/servers", headers=bearer)
                codes = "; ".join(reason["code"] for reason in ready.json()["reasons"])
                return ready.status_code, codes, servers.status_code

            async with phone.connected() as socket:
                await socket.synced()
                assert await state() == (200, "", 200)
                between.deaf = True
                assert (await town.push(push_url["url"], {"body": "unheard"})).status_code == 201

                async def left_out() -> bool:
                    status, reason, servers = await state()
                    assert (status == 503) == ("channel" in reason)
                    return (status, servers) == (503, 503)

                await eventually(left_out)
                assert await socket.silent()
                between.deaf = False
                with trio.fail_after(10):  # reconcile would take a minute
                    assert body_of(await socket.until("message")) == "unheard"

                async def well() -> bool:
                    return await state() == (200, "", 200)

                await eventually(well)
