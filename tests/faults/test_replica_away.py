"""A whole service that waits for a replica: what the replica has not confirmed is a 503, and the retry stores once."""

from dataclasses import replace

import httpx

from pushctl.testing.service import running
from tests.redises.replication import Replicas
from tests.registry.people import impatient
from tests.scenario.people import Town, eventually


async def test_a_retry_over_a_frozen_replica_stores_once(own_replicas: Replicas) -> None:
    config = impatient(own_replicas.url, wait_replicas=1, timeout_seconds=2)  # the replica has half of it
    config = replace(config, socket=replace(config.socket, reconcile_seconds=2))
    async with running(config, sockets=1) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        phone = await town.login("ada")
        push_url = await phone.allow()

        async def post() -> httpx.Response:
            return await town.push(push_url["url"], {"body": "once"}, Idempotency_Key="k")

        async def stored() -> httpx.Response | None:
            answer = await post()
            return answer if answer.status_code == 201 else None

        async with phone.connected() as socket:
            await socket.synced()
            with own_replicas.replica.frozen():
                refused = [await post(), await post()]
                # What promises nothing goes on.
                assert (await phone.ask("GET", "/v1/messages")).status_code == 200
                async with phone.connected() as another:
                    await another.synced()
            for answer in refused:
                assert answer.status_code == 503, answer.text
                assert answer.json()["code"] == "store_unavailable"
                assert int(answer.headers["Retry-After"]) >= 1
            accepted: httpx.Response = await eventually(stored)
            assert (await eventually(stored)).headers["Location"] == accepted.headers["Location"]
        (message,) = await phone.unread()
        assert accepted.headers["Location"].endswith(message["id"])
        async with phone.connected() as later:
            pages = await later.synced()
            assert [each["id"] for page in pages for each in page["messages"]] == [message["id"]]
