"""Who somebody is, whatever proved it: kind, issuer, subject, and the one spelling that is hashed.

Promises: two different principals never have the same canonical bytes, even if their parts concatenate equal.
Must not know: keys, user ids, how a principal was verified.
"""

from dataclasses import dataclass

BROWSERID = "browserid"
"""Subject: the e-mail address as certified. Issuer: empty; the address is the identity, who certifies it may change."""

BROWSERID_DEV = "browserid-dev"
"""The same by the embedded development provider: a kind of its own, so never the same user as a real account."""

UAID = "uaid"
"""Subject: the secret by which a browser that never logs in is known. Issuer: empty; it is given out here."""


OIDC = "oidc"
"""Issuer and subject: as the provider writes them, byte for byte. Its e-mail address is an attribute, never the key."""


@dataclass(frozen=True, slots=True)
class Principal:
    kind: str
    issuer: str
    subject: str

    def canonical(self) -> bytes:
        """Each part behind its length: 4 bytes big-endian, then UTF-8. No normalising, which could merge two people."""
        parts = (part.encode() for part in (self.kind, self.issuer, self.subject))
        return b"push-principal-v1" + b"".join(len(part).to_bytes(4) + part for part in parts)
