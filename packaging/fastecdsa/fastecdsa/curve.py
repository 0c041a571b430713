"""The one curve: NIST P-256, by the name that libp2p knows it by."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Curve:
    """A curve of the `cryptography` library, and the length of a coordinate in bytes."""

    name: str
    backend: ec.EllipticCurve
    size_bytes: int

    def __repr__(self) -> str:
        """Its name, as in the original."""
        return self.name


P256 = Curve("P256", ec.SECP256R1(), 32)
