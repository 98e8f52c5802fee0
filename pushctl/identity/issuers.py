"""Who may speak for an e-mail domain: the static table of issuers and its files.

Owns: what a support document says, delegation, and the reading of issuer files at start.
Promises: one answer per domain, found without a network; a mistake in a file is named with file and key.
Must not know: assertions, and the embedded development provider (dev_idp.py), except that its domain is nobody else's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pushctl.errors import ConfigError
from pushctl.identity.jws import parse_object
from pushctl.identity.public_keys import PublicKey, parse_public_key
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.syntax import is_domain

ALLOWED_ALGORITHMS = frozenset({"RS256"})
"""All that is verified for now: every party that talks to us can make RSA-2048 keys."""

DEV_IDP_DOMAIN = "dev-idp.localhost"
"""Reserved (RFC 6761): whoever is certified under it is a development user. No file can configure it."""

MAX_DELEGATIONS = 5
MAX_DOCUMENT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """What a domain's support document says: the keys it signs with, or who does it in its place."""

    keys: tuple[PublicKey, ...] = ()
    authority: str | None = None
    disabled: bool = False


def find_authority(issuers: Mapping[str, IssuerKeys], domain: str) -> tuple[str, IssuerKeys]:
    """(its name, its keys) of whoever signs for addresses of `domain`, after at most MAX_DELEGATIONS hops.

    Raises LoginRefused: `no_browserid_support`, `delegation_loop`, `delegation_too_deep`.
    """
    seen = [domain]
    while True:
        entry = issuers.get(seen[-1])
        if entry is None or entry.disabled:
            raise LoginRefused("no_browserid_support", "no issuer is configured for this domain")
        if entry.authority is None:
            return seen[-1], entry
        if entry.authority in seen:
            raise LoginRefused("delegation_loop")
        if len(seen) > MAX_DELEGATIONS:
            raise LoginRefused("delegation_too_deep")
        seen.append(entry.authority)


def parse_document(raw: bytes) -> IssuerKeys:
    """From a support document, a set of keys (`{"keys": [...]}`) or a bare public key, as JSON.

    Raises LoginRefused: `invalid_support_document`, or `unsupported_algorithm` if no key is of an allowed one.
    """
    try:
        members = parse_object(raw)
    except ValueError as error:
        raise _invalid(f"not an unambiguous JSON object: {error}") from None
    disabled = members.get("disabled", False)
    if not isinstance(disabled, bool):
        raise _invalid("disabled is not true or false")
    if disabled:
        return IssuerKeys(disabled=True)
    if "authority" in members:
        authority = members["authority"]
        if not isinstance(authority, str) or not is_domain(authority):
            raise _invalid("authority is not a bare lower-case domain name")
        return IssuerKeys(authority=authority)
    keys = _keys(members)
    if not any(key.algorithm in ALLOWED_ALGORITHMS for key in keys):
        raise LoginRefused("unsupported_algorithm", "no key of an algorithm that is accepted (RS256: RSA-2048)")
    return IssuerKeys(keys)


def load_issuers(files: Mapping[str, str]) -> dict[str, IssuerKeys]:
    """The table `identity.browserid.issuers` (domain -> path of a JSON file). ConfigError names every mistake."""
    issuers: dict[str, IssuerKeys] = {}
    mistakes: list[str] = []
    for domain, path in files.items():
        try:
            issuers[domain] = _load(domain, Path(path))
        except ValueError as error:
            mistakes.append(f"identity.browserid.issuers: {domain!r}: {error}")
    if mistakes:
        raise ConfigError(mistakes)
    return issuers


def _load(domain: str, path: Path) -> IssuerKeys:
    if not is_domain(domain):
        raise ValueError("expected a bare lower-case domain name such as idp.example")
    if domain == DEV_IDP_DOMAIN:
        raise ValueError("the development provider's domain cannot be configured")
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        entry = parse_document(raw)
    except LoginRefused as refused:
        raise ValueError(f"{path}: {refused.reason}") from None
    if entry.authority == DEV_IDP_DOMAIN:
        raise ValueError(f"{path}: authority: nobody can delegate to the development provider")
    return entry


def _keys(members: Mapping[str, object]) -> tuple[PublicKey, ...]:
    """Every key of the document; entries of `keys` that are not for signing are skipped."""
    named: list[tuple[str, object]] = []
    if "public-key" in members:
        named.append(("public-key", members["public-key"]))
    listed = members.get("keys", [])
    if not isinstance(listed, list):
        raise _invalid("keys is not a list")
    named += [(f"keys[{at}]", item) for at, item in enumerate(listed) if not _for_other_use(item)]
    if not named and ("algorithm" in members or "kty" in members):
        named.append(("the key", members))
    if not named:
        raise _invalid("no public-key, keys or authority in it")
    return tuple(_key(name, value) for name, value in named)


def _for_other_use(item: object) -> bool:
    return isinstance(item, dict) and item.get("use", "sig") != "sig"


def _key(name: str, value: object) -> PublicKey:
    if not isinstance(value, dict):
        raise _invalid(f"{name} is not an object")
    try:
        return parse_public_key(value)
    except ValueError as error:
        raise _invalid(f"{name}: {error}") from None


def _invalid(reason: str) -> LoginRefused:
    return LoginRefused("invalid_support_document", reason)
