"""A public key as a point of its curve.

The original offers all arithmetic of points. libp2p needs one operation: a point times a secret
number, of which it reads the x coordinate. That is a Diffie-Hellman exchange, so the library does
it as one, and nothing here sees the other coordinate.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from fastecdsa.curve import P256, Curve


@dataclass(frozen=True)
class SharedPoint:
    """What two keys agree on: the x coordinate alone."""

    x: int


@dataclass(frozen=True)
class Point:
    """A point of `curve`; `ValueError` if (x, y) does not lie on it."""

    x: int
    y: int
    curve: Curve = P256

    def __post_init__(self) -> None:
        """Refuse what is no point of the curve."""
        self.public_key()

    @classmethod
    def of(cls, key: ec.EllipticCurvePublicKey, curve: Curve) -> "Point":
        """The point that is this public key."""
        numbers = key.public_numbers()
        return cls(numbers.x, numbers.y, curve)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """This point as a key of the library."""
        return ec.EllipticCurvePublicNumbers(self.x, self.y, self.curve.backend).public_key()

    def __mul__(self, secret: int) -> SharedPoint:
        """The point times a private key in [1, order); `ValueError` outside that range."""
        private = ec.derive_private_key(secret, self.curve.backend)
        shared = private.exchange(ec.ECDH(), self.public_key())
        return SharedPoint(int.from_bytes(shared, "big"))

    __rmul__ = __mul__
