"""Private keys as numbers: made, exported, and turned into public ones."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastecdsa.curve import Curve
from fastecdsa.point import Point


class PEMEncoder:
    """Private keys as text (RFC 5915)."""

    @staticmethod
    def encode_private_key(key: int, curve: Curve) -> str:
        """The PEM text of a private key, without a line end after it."""
        pem = ec.derive_private_key(key, curve.backend).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return pem.decode("ascii").rstrip("\n")


def gen_private_key(curve: Curve) -> int:
    """A new private key: a number in [1, order of the curve)."""
    return ec.generate_private_key(curve.backend).private_numbers().private_value


def get_public_key(key: int, curve: Curve) -> Point:
    """The public key of a private one; `ValueError` outside [1, order)."""
    return Point.of(ec.derive_private_key(key, curve.backend).public_key(), curve)


def export_key(key: int, curve: Curve, encoder: type[PEMEncoder] = PEMEncoder) -> str:
    """A private key as `encoder` writes it."""
    return encoder.encode_private_key(key, curve)
