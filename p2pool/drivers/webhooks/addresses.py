"""Which addresses a webhook may be sent to: those of the public internet, unless its owner allows
others.

Intuition: who may write a URL makes this machine speak to whatever it names, from inside the
provider's network: to the metadata service of a cloud, a database, the engine. A name is no
protection, for it may lead anywhere, and elsewhere the next moment. So the address itself is
judged, after its name was looked up, and that very address is connected to.

Invariants: what is no address of the public internet is refused, in whatever form it is written;
the networks are those that tasks may not reach either.
Source: RFC 6890 and the IANA special-purpose registries; Standard Webhooks 1.0.0, "Server side
request forgery".
"""

import ipaddress

from p2pool.drivers.containers.docker.networks.egress_filter import BLOCKED4, BLOCKED6

_PRIVATE = tuple(map(ipaddress.ip_network, (*BLOCKED4, *BLOCKED6)))


def is_private(host: str) -> bool:
    """Whether a numbered host is not one of the public internet. What is no address is private."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return any(address in network for network in _PRIVATE if network.version == address.version)
