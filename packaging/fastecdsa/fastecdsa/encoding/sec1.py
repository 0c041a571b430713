"""Public keys as bytes, as SEC 1 lays them out."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastecdsa.curve import Curve
from fastecdsa.point import Point


class InvalidSEC1PublicKey(ValueError):
    """Bytes that are no public key of the curve."""


class SEC1Encoder:
    """Points to bytes, and back."""

    @staticmethod
    def encode_public_key(point: Point, compressed: bool = True) -> bytes:
        """02 or 03 and x; uncompressed, 04 and x and y."""
        form = serialization.PublicFormat
        return point.public_key().public_bytes(
            serialization.Encoding.X962,
            form.CompressedPoint if compressed else form.UncompressedPoint,
        )

    @staticmethod
    def decode_public_key(key: bytes, curve: Curve) -> Point:
        """The point that `key` is; `InvalidSEC1PublicKey` if it is none of the curve."""
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve.backend, key)
        except ValueError as error:
            raise InvalidSEC1PublicKey(f"This is no public key of {curve.name}: {error}") from error
        return Point.of(public, curve)
