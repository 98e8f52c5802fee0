"""The routes of the client API and the Box Office, one method each (docs/protocol.md, sections 1 and 3).

Owns: paths, bodies and the shapes of answers.
Promises: a success is a checked value; anything else one of the errors of client/http.py.
Must not know: the store, sockets, what a command does with the answer.
"""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
from msgspec import UNSET, Struct, UnsetType

from pushctl.client.http import decoded, origin_of, request
from pushctl.errors import Failed
from pushctl.protocol import frames
from pushctl.protocol.frames import PushUrl

PAGE: Final = 500
"""Messages asked for at once: as many as the service gives."""

READ_BATCH: Final = 200
"""Ids of messages said to be read at once. With the longest ids there may be (256 characters) that stays below the
64 KiB that servers take in one body or frame, whatever number of ids they allow."""


class Device(Struct, frozen=True):
    id: str
    name: str


class LoggedIn(Struct, frozen=True):
    token: str
    user: str
    device: Device
    expires_at: str


class IdentityRow(Struct, frozen=True):
    """One that may log in to the account; `current`: this device logged in with it."""

    id: str
    provider: str
    linked_at: str
    last_used_at: str
    current: bool


class DeviceRow(Struct, frozen=True):
    id: str
    name: str
    created_at: str
    last_seen_at: str
    connected: bool
    current: bool


class Servers(Struct, frozen=True):
    servers: list[str]
    expires_in_seconds: float


class _Certificate(Struct, frozen=True):
    certificate: str


class _Identities(Struct, frozen=True):
    identities: list[IdentityRow]


class _Devices(Struct, frozen=True):
    devices: list[DeviceRow]


class _PushUrls(Struct, frozen=True):
    push_urls: list[PushUrl]


class _Messages(Struct, frozen=True):
    messages: list[frames.Message]
    next: str | None


class _Mode(Struct, frozen=True):
    mode: str
    next: str | None = None


class Api:
    """One user's view of the service. `token` is sent with everything but `login` and `certificate`."""

    def __init__(self, client: httpx.AsyncClient, api_url: str, boxoffice_url: str) -> None:
        self._client = client
        self._api = api_url.rstrip("/")
        self._boxoffice = boxoffice_url.rstrip("/")

    @property
    def audience(self) -> str:
        """The origin an assertion must be made for."""
        return origin_of(self._api)

    async def certificate(self, email: str, public_key: dict[str, str], duration_seconds: int) -> str:
        """From the embedded development identity provider. Refused with 404 where it is off."""
        body = {"email": email, "public_key": public_key, "duration_seconds": duration_seconds}
        answer = await self._send("POST", "/dev/browserid/certificate", body, headers={"X-Pushctl-Dev": "1"})
        certificate: str = decoded(answer, _Certificate).certificate
        return certificate

    async def login(
        self, authorization: str, device_name: str, device_id: str | None, provider: str | None = None
    ) -> LoggedIn:
        """`authorization`: `BrowserID <assertion>` or `Bearer <OIDC token>`, the latter of `provider`."""
        body = {"device": {"name": device_name, "id": device_id}, "provider": provider}
        answer = await self._send("POST", "/v1/login", body, headers={"Authorization": authorization})
        logged_in: LoggedIn = decoded(answer, LoggedIn)
        return logged_in

    async def logout(self, token: str, *, everywhere: bool = False) -> None:
        await self._send("DELETE", "/v1/login", token=token, params={"everywhere": "true"} if everywhere else None)

    async def identities(self, token: str) -> list[IdentityRow]:
        found: _Identities = decoded(await self._send("GET", "/v1/identities", token=token), _Identities)
        return found.identities

    async def link(self, token: str, credential: str, provider: str | None) -> IdentityRow:
        """`credential`: of the other identity, as `authorization` of `login`. Refused with 409 `identity_taken`."""
        body = {"credential": credential, "provider": provider}
        linked: IdentityRow = decoded(await self._send("POST", "/v1/identities", body, token=token), IdentityRow)
        return linked

    async def unlink(self, token: str, identity: str) -> None:
        """Refused with 404 if it is none of this account's, 409 if it is the last."""
        await self._send("DELETE", f"/v1/identities/{quote(identity, safe='')}", token=token)

    async def devices(self, token: str) -> list[DeviceRow]:
        found: _Devices = decoded(await self._send("GET", "/v1/devices", token=token), _Devices)
        return found.devices

    async def remove_device(self, token: str, device: str) -> None:
        """Refused with 404 if it is none of this user's."""
        await self._send("DELETE", f"/v1/devices/{quote(device, safe='')}", token=token)

    async def delete_account(self, token: str) -> None:
        """All that is stored for the user goes."""
        await self._send("DELETE", "/v1/account", token=token)

    async def push_urls(self, token: str) -> list[PushUrl]:
        found: _PushUrls = decoded(await self._send("GET", "/v1/push-urls", token=token), _PushUrls)
        return found.push_urls

    async def allow(
        self, token: str, site: str, icon: str | None, vapid_key: str | None = None
    ) -> tuple[PushUrl, bool]:
        """The push URL, and whether it is new. `vapid_key`: it takes only what this key signed."""
        body = {"site": site, "icon": icon, "vapid_key": vapid_key}
        answer = await self._send("POST", "/v1/push-urls", body, token=token)
        push_url: PushUrl = decoded(answer, PushUrl)
        return push_url, answer.status_code == 201

    async def revoke(self, token: str, push_url_id: str) -> None:
        """Refused with 404 if it is not (any more) one of the user's."""
        await self._send("DELETE", f"/v1/push-urls/{push_url_id}", token=token)

    async def unread(self, token: str) -> list[frames.Message]:
        """All that the service holds unread for this user, oldest first."""
        found: list[frames.Message] = []
        since: str | None = None
        while True:
            params = {"limit": str(PAGE)} | ({} if since is None else {"since": since})
            page: _Messages = decoded(await self._send("GET", "/v1/messages", token=token, params=params), _Messages)
            found += page.messages
            since = page.next
            if since is None:
                return found

    async def read(self, token: str, ids: Sequence[str]) -> int:
        """How many of them were unread until now."""
        count = 0
        for start in range(0, len(ids), READ_BATCH):
            batch = list(ids[start : start + READ_BATCH])
            answer = await self._send("POST", "/v1/messages/read", {"ids": batch}, token=token)
            count += decoded(answer, dict[str, int]).get("read", 0)
        return count

    async def sync(
        self, token: str, cursor: str | None, next_page: str | None
    ) -> tuple[frames.DeltaFrame | frames.SnapshotFrame, str | None]:
        """One page of what was missed since `cursor`, and where the next page begins (None after the last)."""
        params = {"next": next_page} if next_page is not None else {"cursor": cursor} if cursor is not None else None
        answer = await self._send("GET", "/v1/sync", token=token, params=params)
        kind: _Mode = decoded(answer, _Mode)
        shape: Any = frames.DeltaFrame if kind.mode == "delta" else frames.SnapshotFrame
        page: frames.DeltaFrame | frames.SnapshotFrame = decoded(answer, shape)
        if not page.done and kind.next is None:
            raise Failed(f"{self.audience} does not answer like this service: a page is missing")
        return page, kind.next

    async def servers(self, token: str) -> Servers:
        """Which socket servers to try, in this order (the Box Office)."""
        answer = await request(
            self._client, "GET", f"{self._boxoffice}/v1/servers", headers={"Authorization": f"Bearer {token}"}
        )
        servers: Servers = decoded(answer, Servers)
        return servers

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | UnsetType = UNSET,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        content = None
        if body is not UNSET:
            sent["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        return await request(self._client, method, self._api + path, headers=sent, content=content, params=params)
