"""Certificates for tests: an authority of their own, a server and a client. Trusted nowhere else."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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


def write_certificates(folder: Path, *, host: str = "localhost", days: float = 100) -> Path:
    """A new authority (authority.pem), a server certificate signed by it (server.pem, server.key) for a host and
    127.0.0.1, and a client's (client.pem, client.key), good for `days`. The path of the authority's certificate."""
    folder.mkdir(exist_ok=True)
    root, server, client = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    root_name = _name("pushctl tests")
    authority = (
        _certificate(root_name, root_name, root.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
        .sign(root, hashes.SHA256())
    )
    names = [x509.DNSName(host), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    _write(folder / "authority.pem", authority)
    for name, key, use in (
        ("server", server, ExtendedKeyUsageOID.SERVER_AUTH),
        ("client", client, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        certificate = (
            _certificate(_name(host if name == "server" else name), root_name, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
            .sign(root, hashes.SHA256())
        )
        _write(folder / f"{name}.pem", certificate)
        (folder / f"{name}.key").write_bytes(key_in_pem(key))
    return folder / "authority.pem"


def key_in_pem(key: ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    """As a file holds it, locked if there is a password."""
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    named = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    dated = named.not_valid_before(now - timedelta(days=2)).not_valid_after(now + timedelta(days=days))
    return dated.serial_number(x509.random_serial_number())
