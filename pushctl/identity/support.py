"""Support documents (`/.well-known/browserid`): what a domain says about who signs for it, and where that leads.

Owns: what a document may say, and the walk from one domain to the next until somebody has keys.
Promises: one reading per document. The walk ends after `most` hops, whatever the documents say.
Must not know: how a document is had (discovery.py), the configured issuers (issuers.py), assertions.
"""

from collections.abc import Collection, Generator, Mapping

import msgspec

from pushctl.identity.jws import parse_object
from pushctl.identity.public_keys import PublicKey, parse_public_key
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.syntax import is_domain

MAX_DELEGATIONS = 5

MAX_KEYS = 8
"""Of a published document. Each costs whoever reads it up to 5 ms, and again with each signature that none of them
made."""


class SupportDocument(msgspec.Struct, frozen=True):
    """The keys a domain signs with, or who does it in its place, or that it wants no part in this."""

    keys: tuple[PublicKey, ...] = ()
    authority: str | None = None
    disabled: bool = False


class Authority(msgspec.Struct, frozen=True):
    """Who signs for a domain: its certificates say `name` as their iss."""

    name: str
    keys: tuple[PublicKey, ...]


def delegation(domain: str, most: int = MAX_DELEGATIONS) -> Generator[str, SupportDocument | None, Authority]:
    """The walk from `domain` to its authority. Yields whose document is wanted, takes it; None: it has none.

    Raises LoginRefused: `no_browserid_support`, `delegation_loop`, `delegation_too_deep`.
    """
    seen = [domain]
    while True:
        document = yield seen[-1]
        if document is None or document.disabled:
            raise LoginRefused("no_browserid_support", "nobody says that they sign for this domain")
        if document.authority is None:
            return Authority(seen[-1], document.keys)
        if document.authority in seen:
            raise LoginRefused("delegation_loop")
        if len(seen) > most:
            raise LoginRefused("delegation_too_deep")
        seen.append(document.authority)


def parse_document(raw: bytes, algorithms: Collection[str], *, published: bool) -> SupportDocument:
    """From JSON. `published`: at its well-known place, where it must name its two pages; else a file of the operator's,
    which may also be a set of keys (`{"keys": [...]}`) or a bare public key. Raises LoginRefused
    `invalid_support_document`. Keys of other algorithms than `algorithms` are well-formed, too.
    """
    try:
        members = parse_object(raw)
    except ValueError as error:
        raise _invalid(f"not an unambiguous JSON object: {error}") from None
    disabled = members.get("disabled", False)
    if not isinstance(disabled, bool):
        raise _invalid("disabled is not true or false")
    if disabled:
        return SupportDocument(disabled=True)
    if "authority" in members:
        return SupportDocument(authority=_authority(members["authority"]))
    if published:
        for page in ("authentication", "provisioning"):
            _check_page(page, members.get(page))
    return SupportDocument(_keys(members, algorithms, bare=not published))


def _authority(value: object) -> str:
    if not isinstance(value, str) or not is_domain(value):
        raise _invalid("authority is not a bare lower-case domain name")
    return value


def _check_page(name: str, value: object) -> None:
    """Nobody opens them any more; they say that it is a real document."""
    if not isinstance(value, str) or not value.startswith("/") or value.startswith("//"):
        raise _invalid(f"{name} is not an absolute path")


def _keys(members: Mapping[str, object], algorithms: Collection[str], *, bare: bool) -> tuple[PublicKey, ...]:
    """Every key of the document; entries of `keys` that are not for signing are skipped."""
    named: list[tuple[str, object]] = []
    if "public-key" in members:
        named.append(("public-key", members["public-key"]))
    listed = members.get("keys", [])
    if not isinstance(listed, list):
        raise _invalid("keys is not a list")
    named += [(f"keys[{at}]", item) for at, item in enumerate(listed) if not _for_other_use(item)]
    if not bare and len(named) > MAX_KEYS:
        raise _invalid(f"more than {MAX_KEYS} keys")
    if bare and not named and ("algorithm" in members or "kty" in members):
        named.append(("the key", members))
    if not named:
        raise _invalid("no public-key, keys or authority in it")
    return tuple(_key(name, value, algorithms) for name, value in named)


def _for_other_use(item: object) -> bool:
    return isinstance(item, dict) and item.get("use", "sig") != "sig"


def _key(name: str, value: object, algorithms: Collection[str]) -> PublicKey:
    if not isinstance(value, dict):
        raise _invalid(f"{name} is not an object")
    try:
        return parse_public_key(value, algorithms)
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from None


def _invalid(reason: str) -> LoginRefused:
    return LoginRefused("invalid_support_document", reason)
