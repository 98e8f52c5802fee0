"""All that the service asks of Redis, in one go: each role, each kind of peer, and the operator.

For tests of what a role may do there. Promises: nothing here looks at Redis itself.
"""

import trio

from pushctl.checkup import examine_redis
from pushctl.checkup.finding import Finding
from pushctl.config.model import Config
from pushctl.emptying import ask_to_be_ready, ask_to_drain, find, wait_until_ready
from pushctl.identity.keys import installation_of
from pushctl.ids import PushUrlId, ServerId
from pushctl.inspection.message import inspect_message
from pushctl.inspection.push_url import inspect_push_url
from pushctl.inspection.server import inspect_server
from pushctl.inspection.targets import MessageTarget, PushUrlTarget
from pushctl.inspection.user import inspect_user
from pushctl.overview import gather
from pushctl.registry import Registry, open_registry
from tests.scenario.mozilla_peer import Browser
from tests.scenario.people import Town, eventually


async def clients_and_sites(town: Town) -> None:
    """Log-ins, messages of all kinds, two devices, what a device does, receipts, the end of it all."""
    ada = await town.login("ada")
    other = await town.login("ada")
    push_url = await ada.allow()
    assert (await ada.ask("GET", "/v1/push-urls")).status_code == 200
    async with ada.connected("s1") as laptop, other.connected("s2") as phone:
        await laptop.synced()
        await phone.synced()
        for headers in (
            {"TTL": "1"},
            {"Topic": "t"},
            {"Topic": "t", "Idempotency_Key": "k"},
            {"TTL": "0"},
            {"Urgency": "low"},
        ):
            answer = await town.push(push_url["url"], {"body": "x"}, **headers)
            assert answer.status_code == 201, answer.text
            location = answer.headers["location"]
        receipt = await town.push(push_url["url"], {"body": "x"}, Prefer="respond-async")
        link = receipt.headers["link"].partition(">")[0].lstrip("<")
        shown = await phone.until("message")
        while not receipt.headers["location"].endswith(shown["message"]["id"]):  # TTL 1 may be over before it is there
            shown = await phone.until("message")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heard_of, town, link)
            await phone.send({"type": "ack", "cursor": shown["cursor"]})
            await phone.send({"type": "read", "ids": [shown["message"]["id"]]})
            await laptop.until("read")
        assert (await town.http.get(town.service.api + location)).status_code == 200
        assert (await town.http.delete(town.service.api + location)).status_code == 204
        answer = await ada.ask("POST", "/v1/push-urls", {"site": "https://news.example", "icon": "https://a.example/i"})
        assert answer.status_code == 200
        await phone.until("push_url")
        for path in ("/v1/devices", "/v1/messages", "/v1/sync"):
            assert (await ada.ask("GET", path)).status_code == 200
        headers = {"Authorization": f"Bearer {ada.token}"}
        answer = await town.http.get(f"{town.service.boxoffice}/v1/servers", headers=headers)
        assert answer.status_code == 200, answer.text
        await ada.ask("DELETE", f"/v1/push-urls/{push_url['id']}")
        await phone.until("revoked")
        renewed = await town.login("ada", other.device)
        await phone.send({"type": "token", "token": renewed.token})
        third = await town.login("ada")
        assert (await ada.ask("DELETE", f"/v1/devices/{third.device}")).status_code == 204
        await trio.sleep(1.2)  # a reconcile, a heartbeat, a round of gc
    async with ada.connected("s1", cursor=shown["cursor"]) as laptop:
        await laptop.synced()
    work = await ada.ask("POST", "/v1/identities", {"credential": f"BrowserID {await town.bundle('work')}"})
    assert work.status_code == 201, work.text
    assert len((await ada.ask("GET", "/v1/identities")).json()["identities"]) == 2
    assert (await town.login("work")).user == ada.user
    assert (await ada.ask("DELETE", f"/v1/identities/{work.json()['id']}")).status_code == 204
    assert (await renewed.ask("DELETE", "/v1/login")).status_code == 204
    assert (await ada.ask("DELETE", "/v1/login?everywhere=true")).status_code == 204
    ada = await town.login("ada")
    assert (await ada.ask("DELETE", "/v1/account")).status_code == 204


async def heard_of(town: Town, link: str) -> None:
    answer = await town.http.get(town.service.api + link, headers={"Prefer": "wait=10"}, timeout=20)
    assert answer.json()["state"] in ("delivered", "read")


async def browsers(town: Town) -> None:
    """A browser of Mozilla's protocol: it registers, is away, comes back, unregisters."""
    browser = Browser(town.service.sockets["s1"])
    async with browser.connected() as talk:
        url = await browser.subscribe(talk)
        await town.http.post(url, headers={"TTL": "60"})
        await talk.ack(await talk.notification())
        await talk.ping()
    await town.http.post(url, headers={"TTL": "60"})
    async with browser.connected() as talk:
        await talk.ack(await talk.notification())
        (channel,) = browser.endpoints
        await talk.unregister(channel)


async def operator(config: Config, town: Town) -> list[Finding]:
    """stats, inspect, drain and undrain, doctor and doctor --adopt; what doctor found."""
    bob = await town.login("bob")
    push_url = await bob.allow()
    await town.push(push_url["url"], {"body": "x"})
    async with open_registry(config, name="operator") as registry:
        await gather(registry, config)
        await inspect_user(registry, config, bob.user)
        await inspect_push_url(registry, config, PushUrlTarget(bob.user, PushUrlId(push_url["id"]), 1))
        await inspect_message(registry, MessageTarget(bob.user, 2, None, None))
        await inspect_server(registry, config, ServerId("s2"))
        row = await find(registry, "s2")
        await ask_to_drain(registry, row, by="ops", over_seconds=1)
        await eventually(lambda: _drains(registry))
        await ask_to_be_ready(registry, row, by="ops")
        await wait_until_ready(registry, row)
        installation = installation_of(config.identity)
        assert installation
        await registry.adopt(installation)
        return await examine_redis(registry, config)


async def _drains(registry: Registry) -> bool:
    return any(row.state == "draining" for row in await registry.servers.picture(""))
