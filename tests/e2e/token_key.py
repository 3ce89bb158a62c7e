"""The key that signs tokens, with the certificate by which a registry trusts it."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class TokenKey:
    """A P-256 key and its self-signed certificate, both as PEM."""

    private: bytes
    certificate: bytes

    @classmethod
    def generate(cls) -> Self:
        """A new key, valid for a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(private, _self_signed(key).public_bytes(Encoding.PEM))

    @classmethod
    def load(cls, directory: Path) -> Self:
        """The key that `save` put there."""
        return cls((directory / "key.pem").read_bytes(), (directory / "certificate.pem").read_bytes())

    def save(self, directory: Path) -> None:
        """Keeps the key in a folder, the certificate beside it."""
        (directory / "key.pem").write_bytes(self.private)
        (directory / "certificate.pem").write_bytes(self.certificate)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A JSON web token (ES256) that carries the certificate, as the registry wants it."""
        der = x509.load_pem_x509_certificate(self.certificate).public_bytes(Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        payload = f"{_encode(_json(header))}.{_encode(_json(claims))}"
        return f"{payload}.{_encode(self._signature(payload.encode()))}"

    def _signature(self, payload: bytes) -> bytes:
        key = load_pem_private_key(self.private, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        r, s = decode_dss_signature(key.sign(payload, ec.ECDSA(SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "token service of the tests")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1),
        not_valid_after=now + timedelta(days=1),
    )
    return builder.sign(key, SHA256())


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
