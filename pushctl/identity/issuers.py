"""Who may speak for an e-mail domain by configuration: the table of issuers and their files.

Owns: the reading of issuer files at start.
Promises: one answer per domain, found without a network; a mistake is named with its key and its file.
Must not know: assertions, and the embedded development provider (dev_idp.py), except that its domain is nobody else's.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from pushctl.config.model import BrowseridIssuer
from pushctl.errors import ConfigError
from pushctl.identity.public_keys import PublicKey
from pushctl.identity.refusal import LoginRefused
from pushctl.identity.support import Authority, parse_document
from pushctl.identity.syntax import is_domain

DEFAULT_ALGORITHMS = ("RS256",)
"""Every party that talks to us can make RSA-2048 keys."""

DEV_IDP_DOMAIN = "dev-idp.localhost"
"""Reserved (RFC 6761): whoever is certified under it is a development user. No file can configure it."""

MAX_DOCUMENT_BYTES = 65_536

_PATH = "identity.browserid.issuers"


def load_issuers(issuers: Sequence[BrowseridIssuer], algorithms: Collection[str]) -> dict[str, Authority]:
    """The authority of each configured e-mail domain. ConfigError names every mistake."""
    table: dict[str, Authority] = {}
    mistakes: list[str] = []
    for number, issuer in enumerate(issuers):
        path = f"{_PATH}[{number}]"
        found = [*_name_mistakes(path, issuer), *(_taken(path, domain) for domain in issuer.domains if domain in table)]
        try:
            keys = _load(Path(issuer.keys_file), algorithms)
        except ValueError as error:
            found.append(f"{path}.keys_file: {error}")
        if not found:
            table |= dict.fromkeys(issuer.domains, Authority(issuer.issuer, keys))
        mistakes += found
    if mistakes:
        raise ConfigError(mistakes)
    return table


def _name_mistakes(path: str, issuer: BrowseridIssuer) -> list[str]:
    names = [("issuer", issuer.issuer), *(("domains", domain) for domain in issuer.domains)]
    mistakes = [f"{path}.{key}: {name!r}: {wrong}" for key, name in names if (wrong := domain_mistake(name))]
    return mistakes if issuer.domains else [*mistakes, f"{path}.domains: name at least one, such as {issuer.issuer!r}"]


def domain_mistake(name: str) -> str | None:
    """Why a domain cannot be configured; None: it can."""
    if not is_domain(name):
        return "expected a bare lower-case domain name such as idp.example"
    return "the development provider's domain cannot be configured" if name == DEV_IDP_DOMAIN else None


def _taken(path: str, domain: str) -> str:
    return f"{path}.domains: {domain!r}: another issuer speaks for it"


def _load(path: Path, algorithms: Collection[str]) -> tuple[PublicKey, ...]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{path}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        document = parse_document(raw, algorithms, published=False)
    except LoginRefused as refused:
        raise ValueError(f"{path}: {refused.reason}") from None
    if document.authority is not None or document.disabled:
        raise ValueError(f"{path}: holds no keys; who speaks for a domain is said by `issuer` and `domains`")
    if not any(key.algorithm in algorithms for key in document.keys):
        raise ValueError(f"{path}: no key of an algorithm that is accepted ({', '.join(algorithms)})")
    return document.keys
