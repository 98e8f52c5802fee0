"""A restore drill: a running service whose Redis is put back to an older backup, as docs/runbook.md says it is done."""

import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from pushctl.config.model import Config, Redis
from pushctl.testing.service import running
from tests.redises.process import RedisProcess
from tests.redises.waiting import until
from tests.scenario.people import Closed, Town, eventually

pytestmark = pytest.mark.slow


def back_up(redis: RedisProcess, backup: Path) -> None:
    """One file of one moment, while everything runs."""
    redis.ask("CONFIG", "SET", "save", "3600 1")
    redis.ask("SAVE")
    shutil.copy(redis.path.parent / "dump.rdb", backup)


def rewrites(redis: RedisProcess) -> bool:
    persistence = redis.info("persistence")
    return "1" in (persistence[f"aof_rewrite_{what}"] for what in ("in_progress", "scheduled"))


def restore(redis: RedisProcess, backup: Path) -> None:
    """Stop, put the file in place, start without the append-only file, turn that on again, start as always."""
    folder = redis.path.parent
    redis.stop()
    (folder / "appendonly.aof").unlink(missing_ok=True)
    shutil.rmtree(folder / "appendonlydir", ignore_errors=True)
    shutil.copy(backup, folder / "dump.rdb")
    configuration = folder / "redis.conf"
    as_always = configuration.read_text()
    configuration.write_text(as_always.replace("appendonly yes", "appendonly no"))
    redis.start()
    redis.ask("CONFIG", "SET", "appendonly", "yes")
    until(lambda: not rewrites(redis), "the append-only file is written")
    redis.stop()
    configuration.write_text(as_always)
    redis.start()


async def test_after_a_restore_devices_get_a_snapshot_and_nothing_made_since_is_called_gone(
    own_redis: RedisProcess, folder: Path
) -> None:
    quick = replace(
        Config(),
        redis=Redis(url=own_redis.url, connect_seconds=5, timeout_seconds=2),
        socket=replace(Config().socket, reconcile_seconds=1),
    )
    async with running(quick) as service, httpx.AsyncClient(timeout=30) as http:
        town = Town(service, http)
        phone = await town.login("ada")
        old_url = (await phone.allow("https://old.example"))["url"]
        revoked = await phone.allow("https://revoked.example")
        async with phone.connected() as socket:
            await socket.synced()
            await town.push(old_url, {"body": "before"})
            before = (await socket.until("message"))["message"]["id"]
            back_up(own_redis, folder / "backup.rdb")

            # What happens after it is what will be undone.
            await town.push(old_url, {"body": "after"})
            cursor = (await socket.until("message"))["cursor"]
            await socket.send({"type": "ack", "cursor": cursor})
            new_url = (await phone.allow("https://new.example"))["url"]
            await phone.ask("DELETE", f"/v1/push-urls/{revoked['id']}")
            await phone.ask("POST", "/v1/messages/read", {"ids": [before]})
            await socket.until("revoked")
            await socket.until("read")
            late = await town.login("eve")

            restore(own_redis, folder / "backup.rdb")

            # The connection stayed, and is told the truth by itself: what is not in a snapshot is no more.
            snapshot = await socket.until("sync")
            assert snapshot["mode"] == "snapshot"
            assert [message["notification"]["body"] for message in snapshot["messages"]] == ["before"]
            sites = {push_url["site"] for push_url in snapshot["push_urls"]}
            assert sites == {"https://old.example", "https://revoked.example"}

            async def accepted() -> bool:
                return (await town.push(old_url, {"body": "new life"})).status_code == 201

            await eventually(accepted)
            assert (await socket.until("message"))["message"]["notification"]["body"] == "new life"
        unknown = await town.push(new_url, {"body": "to a push URL that the backup does not know"})
        assert (unknown.status_code, unknown.json()["code"]) == (503, "store_unavailable")
        assert (await late.ask("GET", "/v1/messages")).status_code == 401
        async with late.connected() as socket:
            with pytest.raises(Closed, match="4501"):
                await socket.until("welcome")
        async with phone.connected(cursor=cursor) as socket:
            assert (await socket.synced())[0]["mode"] == "snapshot"
