"""Asking domains who speaks for them: what is asked, what is remembered, and what never falls back."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from pushctl.config.model import BrowseridDiscover
from pushctl.identity import answers
from pushctl.identity import discovery as rules
from pushctl.identity.browserid_make import public_key_json
from pushctl.identity.discovery import Discovery
from pushctl.identity.issuers import DEFAULT_ALGORITHMS, DEV_IDP_DOMAIN
from pushctl.identity.public_keys import PublicKey, parse_public_key
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.support import Authority
from tests.internet import Internet, answer, open_internet
from tests.unit.identity.bundles import KeyRing

IDP, MAIL, OTHER, FALLBACK = (f"{name}.push-tests.net" for name in ("idp", "mail", "other", "fallback"))
PAGES = {"authentication": "/sign_in", "provisioning": "/provision"}


class World:
    """A discovery, the Internet it asks, and a clock that stands unless it is moved."""

    def __init__(self, internet: Internet, ring: KeyRing) -> None:
        self.internet = internet
        self.ring = ring
        self.now = 1000.0
        self.known: dict[str, Authority] = {}

    def document(self, name: str = "issuer") -> dict[str, Any]:
        return {"public-key": public_key_json(getattr(self.ring, name)), **PAGES}

    def key(self, name: str = "issuer") -> PublicKey:
        return parse_public_key(public_key_json(getattr(self.ring, name)), DEFAULT_ALGORITHMS)

    def discovery(self, **settings: Any) -> Discovery:
        discover = BrowseridDiscover(**{"timeout_seconds": 5.0, "ca_file": self.internet.ca_file, **settings})
        fetcher = self.internet.fetcher(rules.rules_of(discover))
        return Discovery(discover, self.known, DEFAULT_ALGORITHMS, fetcher=fetcher, clock=lambda: self.now)

    def asked(self) -> list[str]:
        """Whom, since the last time."""
        hosts = [request.partition("/")[0] for request in self.internet.requests]
        self.internet.requests.clear()
        return hosts


@pytest.fixture
async def world(tmp_path: Path, ring: KeyRing) -> AsyncIterator[World]:
    async with open_internet(tmp_path / "certificates") as internet:
        world = World(internet, ring)
        internet.publish(IDP, world.document())
        yield world


async def code_of(discovery: Discovery, domain: str) -> str:
    with trio.fail_after(20), pytest.raises(LoginRefused) as caught:
        await discovery.find(domain)
    return caught.value.code


# --- the walk --------------------------------------------------------------------------------------------------------


async def test_a_domain_that_publishes_a_key_speaks_for_itself(world: World) -> None:
    assert await world.discovery().find(IDP) == Authority(IDP, (world.key(),))
    assert world.internet.requests == [f"{IDP}/.well-known/browserid?domain={IDP}"]


async def test_a_delegation_is_followed_and_each_is_told_for_whom_it_is_asked(world: World) -> None:
    world.internet.publish(MAIL, {"authority": OTHER})
    world.internet.publish(OTHER, {"authority": IDP})

    assert await world.discovery().find(MAIL) == Authority(IDP, (world.key(),))
    assert world.internet.requests == [f"{host}/.well-known/browserid?domain={MAIL}" for host in (MAIL, OTHER, IDP)]


async def test_delegation_ends_after_as_many_hops_as_configured(world: World) -> None:
    names = [f"hop{at}.push-tests.net" for at in range(7)]
    for name, following in pairwise(names):
        world.internet.publish(name, {"authority": following})
    world.internet.publish(names[-1], world.document())

    assert await code_of(world.discovery(), names[0]) == "delegation_too_deep"
    assert world.asked() == names[:6]
    assert (await world.discovery().find(names[1])).name == names[6]
    assert await code_of(world.discovery(max_delegations=0), names[5]) == "delegation_too_deep"
    world.internet.publish(names[-1], {"authority": names[3]})
    assert await code_of(world.discovery(), names[3]) == "delegation_loop"
    world.internet.publish(names[0], {"authority": names[0]})
    assert await code_of(world.discovery(), names[0]) == "delegation_loop"


@pytest.mark.parametrize(
    "name", ["evil.localhost", "x.test", "x.invalid", "idp.example", "printer.local", "x.internal", "x.onion", "1.arpa"]
)
async def test_a_reserved_name_is_not_asked_neither_first_nor_by_delegation(name: str, world: World) -> None:
    world.internet.publish(FALLBACK, world.document())
    discovery = world.discovery(fallback=FALLBACK)

    assert await code_of(discovery, name) == "no_browserid_support"
    world.internet.publish(MAIL, {"authority": name})
    assert await code_of(discovery, MAIL) == "invalid_support_document"
    assert world.asked() == [MAIL]
    assert world.internet.resolved == [MAIL]


async def test_a_name_that_is_none_is_not_asked(world: World) -> None:
    for name in ("localhost", "10.0.0.1", "[::1]", "idp.push-tests.net:8443", "IDP.push-tests.net", "a..b", ""):
        assert await code_of(world.discovery(), name) == "no_browserid_support"
    assert not world.internet.resolved


async def test_only_allowed_domains_are_asked_and_whoever_they_name(world: World) -> None:
    world.internet.publish(MAIL, {"authority": IDP})
    world.internet.publish(FALLBACK, world.document())
    discovery = world.discovery(allow_domains=(MAIL,), fallback=FALLBACK)

    assert (await discovery.find(MAIL)).name == IDP
    assert world.asked() == [MAIL, IDP]
    assert await code_of(discovery, IDP) == "no_browserid_support"
    assert world.asked() == []


async def test_a_configured_issuer_is_never_asked(world: World) -> None:
    world.known = {"corp.internal": Authority("idp.internal", (world.key("stranger"),)), IDP: Authority(IDP, ())}
    world.internet.publish(MAIL, {"authority": IDP})
    discovery = world.discovery()

    assert await discovery.find("corp.internal") == Authority("idp.internal", (world.key("stranger"),))
    assert await discovery.find(MAIL) == Authority(IDP, ())
    assert world.asked() == [MAIL]
    assert await discovery.find_newer(IDP, Authority(IDP, ())) is None


async def test_nobody_on_the_internet_delegates_to_the_development_provider(world: World) -> None:
    world.known = {DEV_IDP_DOMAIN: Authority(DEV_IDP_DOMAIN, (world.key("stranger"),))}
    world.internet.publish(MAIL, {"authority": DEV_IDP_DOMAIN})

    assert await code_of(world.discovery(), MAIL) == "invalid_support_document"
    assert (await world.discovery().find(DEV_IDP_DOMAIN)).name == DEV_IDP_DOMAIN


# --- what there may be instead of a document --------------------------------------------------------------------------

NONE_THERE: list[bytes] = [answer("{}", status=404), answer("", status=410), answer('{"disabled": true}')]
OUTAGES: list[bytes] = [answer("{}", status=503), answer("{}", status=429), b"", b"SSH-2.0-x\r\n\r\n"]
NONSENSE: list[bytes] = [
    answer("{}"),
    answer("<html>", content_type="text/html"),
    answer("{}", status=403),
    answer("", f"Location: https://{IDP}/", status=302),
    answer('{"disabled": "true"}'),
    answer('{"authority": "//evil"}'),
    answer(json.dumps({"public-key": {"algorithm": "RS", "n": "7", "e": "3"}, **PAGES})),
    answer("{" + " " * 70_000 + "}"),
]


@pytest.mark.parametrize("said", NONE_THERE)
async def test_a_domain_without_browserid_falls_back_if_there_is_a_fallback(said: bytes, world: World) -> None:
    world.internet.handlers[MAIL] = said
    assert await code_of(world.discovery(), MAIL) == "no_browserid_support"

    world.internet.publish(FALLBACK, {"authority": IDP})
    assert (await world.discovery(fallback=FALLBACK).find(MAIL)).name == IDP
    assert world.internet.requests[-2:] == [f"{host}/.well-known/browserid?domain={MAIL}" for host in (FALLBACK, IDP)]
    world.internet.handlers[FALLBACK] = said
    assert await code_of(world.discovery(fallback=FALLBACK), MAIL) == "no_browserid_support"


@pytest.mark.parametrize(
    ("said", "code"),
    [(said, "issuer_unavailable") for said in OUTAGES] + [(said, "invalid_support_document") for said in NONSENSE],
)
async def test_an_outage_or_nonsense_never_falls_back(said: bytes, code: str, world: World) -> None:
    world.internet.handlers[MAIL] = said
    world.internet.publish(FALLBACK, world.document())
    discovery = world.discovery(fallback=FALLBACK)

    assert await code_of(discovery, MAIL) == code
    assert await code_of(discovery, MAIL) == code  # nor from memory
    world.internet.publish(OTHER, {"authority": MAIL})
    assert await code_of(discovery, OTHER) == code
    assert FALLBACK not in world.asked()


@pytest.mark.parametrize("addresses", [(), ("127.0.0.1",), ("10.0.0.1", "93.184.215.14")])
async def test_a_name_that_leads_nowhere_or_inside_never_falls_back(addresses: tuple[str, ...], world: World) -> None:
    world.internet.addresses[MAIL] = addresses
    world.internet.publish(FALLBACK, world.document())

    assert await code_of(world.discovery(fallback=FALLBACK), MAIL) == "issuer_unavailable"
    assert not world.internet.connected


async def test_a_delegating_domain_without_an_authority_falls_back(world: World) -> None:
    world.internet.publish(MAIL, {"authority": OTHER})
    world.internet.publish(FALLBACK, world.document())

    assert (await world.discovery(fallback=FALLBACK).find(MAIL)).name == FALLBACK


# --- what is remembered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("control", "seconds"),
    [("", 3600), ("max-age=900", 900), ("max-age=1", 300), ("no-store", 300), ("max-age=86400", 3600)],
)
async def test_a_document_is_kept_as_long_as_it_says_within_bounds(control: str, seconds: float, world: World) -> None:
    world.internet.publish(IDP, world.document(), *([f"Cache-Control: {control}"] if control else []))
    discovery = world.discovery()
    await discovery.find(IDP)

    world.now += seconds - 1
    await discovery.find(IDP)
    assert len(world.asked()) == 1
    world.now += 2
    await discovery.find(IDP)
    assert len(world.asked()) == 1


@pytest.mark.parametrize(
    ("said", "seconds"), [(NONE_THERE[0], 60), (NONSENSE[0], 60), (OUTAGES[0], 10), (NONE_THERE[2], 3600)]
)
async def test_that_there_is_none_is_remembered_for_a_while(said: bytes, seconds: float, world: World) -> None:
    world.internet.handlers[MAIL] = said
    discovery = world.discovery()
    first = await code_of(discovery, MAIL)

    world.now += seconds - 1
    assert await code_of(discovery, MAIL) == first
    assert len(world.asked()) == 1
    world.now += 2
    world.internet.publish(MAIL, world.document())
    assert (await discovery.find(MAIL)).name == MAIL


async def test_an_authority_is_asked_for_each_domain_that_it_speaks_for(world: World) -> None:
    discovery = world.discovery()
    for domain in (MAIL, OTHER):
        world.internet.publish(domain, {"authority": IDP})
        await discovery.find(domain)

    assert world.asked() == [MAIL, IDP, OTHER, IDP]


async def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_REMEMBERED", 3)
    discovery = world.discovery()
    for at in range(6):
        world.internet.publish(f"good{at}.push-tests.net", world.document())
        await discovery.find(f"good{at}.push-tests.net")
        await code_of(discovery, f"bad{at}.push-tests.net")
    assert len(discovery._documents._answers) == len(discovery._failures._answers) == 3
    assert not discovery._turns

    world.asked()
    await discovery.find("good5.push-tests.net")
    assert world.asked() == []
    await discovery.find("good0.push-tests.net")
    assert len(world.asked()) == 1


async def test_many_logins_of_one_domain_ask_once(world: World) -> None:
    released = trio.Event()

    async def slow(_target: str, stream: trio.abc.Stream) -> None:
        await released.wait()
        await stream.send_all(answer(json.dumps(world.document())))

    world.internet.handlers[IDP] = slow
    discovery = world.discovery()
    found: list[Authority] = []

    async def find() -> None:
        found.append(await discovery.find(IDP))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(find)
            while not world.internet.requests:  # noqa: ASYNC110 - the server cannot tell
                await trio.sleep(0.01)
            released.set()
    assert len(found) == 50
    assert len(world.asked()) == 1
    assert not discovery._turns


async def test_whoever_waits_asks_if_the_one_who_asked_gives_up(world: World) -> None:
    async def never(_target: str, _stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    world.internet.handlers[IDP] = never
    discovery = world.discovery()
    found: list[Authority] = []

    async def find(scope: trio.CancelScope) -> None:
        with scope:
            found.append(await discovery.find(IDP))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            impatient = trio.CancelScope()
            nursery.start_soon(find, impatient)
            while not world.internet.requests:  # noqa: ASYNC110 - the server cannot tell
                await trio.sleep(0.01)
            nursery.start_soon(find, trio.CancelScope())
            await trio.sleep(0.05)
            world.internet.publish(IDP, world.document())
            impatient.cancel()
    assert [authority.name for authority in found] == [IDP]
    assert not discovery._turns


async def test_no_more_are_asked_at_a_time_than_configured_and_nobody_waits_for_ever(world: World) -> None:
    async def never(_target: str, _stream: trio.abc.Stream) -> None:
        await trio.sleep_forever()

    domains = [f"slow{at}.push-tests.net" for at in range(6)]
    world.internet.handlers.update(dict.fromkeys(domains, never))
    discovery = world.discovery(max_concurrent=2, timeout_seconds=2)
    codes: list[str] = []

    async def find(domain: str) -> None:
        codes.append(await code_of(discovery, domain))

    began = trio.current_time()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for domain in domains:
                nursery.start_soon(find, domain)
    assert trio.current_time() - began < 5
    assert codes == ["issuer_unavailable"] * 6
    assert len(set(world.asked())) == 2
    assert await code_of(discovery, "fast.push-tests.net") == "no_browserid_support"


async def test_all_hops_together_take_no_longer_than_one_login_may(world: World) -> None:
    def slowly(document: dict[str, str]) -> Any:
        async def handler(_target: str, stream: trio.abc.Stream) -> None:
            await trio.sleep(0.25)
            await stream.send_all(answer(json.dumps(document)))

        return handler

    names = [f"hop{at}.push-tests.net" for at in range(6)]
    for name, following in pairwise(names):
        world.internet.handlers[name] = slowly({"authority": following})
    world.internet.publish(names[-1], world.document())
    discovery = world.discovery(timeout_seconds=0.6)

    assert await code_of(discovery, names[0]) == "issuer_unavailable"
    assert names[-1] not in world.asked()
    assert await code_of(discovery, names[0]) == "issuer_unavailable"
    assert world.asked() == [], "the domain that was too slow is left alone for a while"


# --- keys that changed ------------------------------------------------------------------------------------------------


async def test_new_keys_are_found_once_the_old_ones_are_a_minute_old(world: World) -> None:
    discovery = world.discovery()
    old = await discovery.find(IDP)
    world.internet.publish(IDP, world.document("stranger"))

    world.now += 59
    assert await discovery.find_newer(IDP, old) is None
    world.now += 2
    assert await discovery.find_newer(IDP, old) == Authority(IDP, (world.key("stranger"),))
    assert len(world.asked()) == 2
    # Whoever comes with the old ones, too, gets those that were found; and nobody asks again so soon.
    newest = await discovery.find_newer(IDP, old)
    assert newest == await discovery.find(IDP)
    assert newest is not None
    assert await discovery.find_newer(IDP, newest) is None
    assert world.asked() == []


async def test_new_keys_of_an_authority_are_found_for_a_domain_that_delegates_to_it(world: World) -> None:
    world.internet.publish(MAIL, {"authority": IDP})
    discovery = world.discovery()
    old = await discovery.find(MAIL)
    world.internet.publish(IDP, world.document("stranger"))
    world.now += 61

    assert await discovery.find_newer(MAIL, old) == Authority(IDP, (world.key("stranger"),))
    assert world.asked() == [MAIL, IDP, IDP]


async def test_bad_signatures_have_a_domain_asked_once_in_a_minute(world: World) -> None:
    discovery = world.discovery()
    authority = await discovery.find(IDP)
    world.now += 61
    for _ in range(20):
        await discovery.find_newer(IDP, authority)
    assert len(world.asked()) == 2


async def test_an_outage_does_not_take_away_keys_that_are_at_hand(world: World) -> None:
    discovery = world.discovery()
    authority = await discovery.find(IDP)
    world.internet.handlers[IDP] = OUTAGES[0]
    world.now += 61

    assert await discovery.find_newer(IDP, authority) is None
    assert await discovery.find(IDP) == authority
    world.asked()
    assert await discovery.find_newer(IDP, authority) is None
    assert world.asked() == []


async def test_keys_that_were_withdrawn_are_not_used_again(world: World) -> None:
    discovery = world.discovery()
    authority = await discovery.find(IDP)
    world.internet.handlers[IDP] = NONE_THERE[0]
    world.now += 61

    with pytest.raises(LoginRefused, match="no identity provider"):
        await discovery.find_newer(IDP, authority)
    assert await code_of(discovery, IDP) == "no_browserid_support"


async def test_a_domain_whose_document_was_forgotten_meanwhile_is_asked(world: World) -> None:
    discovery = world.discovery()
    authority = await discovery.find(IDP)
    world.now += 4000

    assert await discovery.find_newer(IDP, authority) == authority
    assert len(world.asked()) == 2


def test_what_is_fetched_comes_from_the_open_internet_alone() -> None:
    settings = BrowseridDiscover(ca_file="/ca.pem", max_document_bytes=2000, timeout_seconds=3)
    made = rules.rules_of(settings)

    assert (made.networks, made.allow_http_loopback) == ("public", False)
    assert (made.max_bytes, made.timeout_seconds, made.ca_file) == (2000, 3, "/ca.pem")
    assert rules.rules_of(replace(settings, ca_file="")).ca_file == ""
