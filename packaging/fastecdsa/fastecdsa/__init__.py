"""The part of fastecdsa that libp2p imports: P-256 keys, on the `cryptography` library."""
