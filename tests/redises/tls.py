"""A Redis that speaks TLS only, to one named user only. The wheel's server has no TLS, so this is Debian's."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.redises.process import RedisProcess, debian_binary

USER, PASSWORD = "push", "secret"

_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class TlsRedis:
    """The process, and what a client must know."""

    def __init__(self, process: RedisProcess, authority: Path) -> None:
        self.process = process
        self.authority = authority
        """The certificate of the authority that signed the server's."""

    def url_with(self, *, user: str = USER, password: str = PASSWORD, authority: Path | None = None) -> str:
        """rediss:// with whatever a test wants to be wrong."""
        trusted = authority or self.authority
        return f"rediss://{user}:{password}@localhost:{self.process.port}/0?ssl_ca_certs={trusted}"

    @property
    def url(self) -> str:
        return self.url_with()


def write_certificates(folder: Path, *, host: str = "localhost") -> Path:
    """A new authority (authority.pem) and a server certificate signed by it (server.pem, server.key) for a host and
    127.0.0.1, good for a day. The path of the authority's certificate."""
    folder.mkdir(exist_ok=True)
    root, server = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = _name("pushctl tests")
    authority = (
        _certificate(root_name, root_name, root.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    names = [x509.DNSName(host), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    certificate = (
        _certificate(_name(host), root_name, server.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "server.key").write_bytes(
        server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "authority.pem"


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    dated = named.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
    return dated.serial_number(x509.random_serial_number())


@contextmanager
def redis_with_tls(folder: Path) -> Iterator[TlsRedis]:
    """A Redis with TLS, in which only USER may do anything; gone at the end."""
    authority = write_certificates(folder / "certificates")
    lines = (
        f"tls-cert-file {authority.parent / 'server.pem'}",
        f"tls-key-file {authority.parent / 'server.key'}",
        f"tls-ca-cert-file {authority}",
        "tls-auth-clients no",
        "user default off",
        f"user {USER} on >{PASSWORD} ~* &* +@all",
    )
    client = {"ssl": True, "ssl_ca_certs": str(authority), "username": USER, "password": PASSWORD, "host": "localhost"}
    process = RedisProcess(folder / "tls", *lines, listen="tls-port", binary=debian_binary(), client=client)
    try:
        yield TlsRedis(process, authority)
    finally:
        process.kill()
