"""Whether the API can listen where it is told to, and show its certificate, for commands: it lies
between the configuration, of which they know, and the API, which alone knows what it takes.
"""

import time

from p2pool.api.certificates import load_certificate
from p2pool.api.listeners import address_of
from p2pool.drivers.config.schema import ApiConfig
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.model.machine.checks import Check, Group, Verdict

_NAME = "api certificate"


def check_bind(text: str) -> None:
    """`Misconfigured` if it is no `[api] bind`."""
    address_of(text)


def certificate_checks(config: ApiConfig) -> list[Check]:
    """One check, or none where the API speaks no TLS."""
    files = config.tls_certificate, config.tls_key
    if files[0] is None and files[1] is None:
        if not config.tls_bind:
            return []
        found = f"no certificate for {config.tls_bind}"
        todo = "Set [api] tls_certificate and tls_key beside tls_bind."
        return [Check(Group.NETWORK, _NAME, Verdict.FAIL, found, todo=todo)]
    if files[0] is None or files[1] is None:
        todo = "Set both [api] tls_certificate and tls_key, or neither."
        return [Check(Group.NETWORK, _NAME, Verdict.FAIL, "half of it", todo=todo)]
    try:
        loaded = load_certificate(files[0], files[1])
    except Misconfigured as error:
        return [Check(Group.NETWORK, _NAME, Verdict.FAIL, error.message, todo=error.hint)]
    found = f"{files[0]}, until {loaded.until}"
    left_s = loaded.not_after_s - time.time()
    if left_s < limits.API_CERTIFICATE_WARN_S:
        found = f"{found}: it has ended" if left_s <= 0 else found
        todo = f"Renew {files[0]}; an agent that runs takes it without a restart."
        return [Check(Group.NETWORK, _NAME, Verdict.WARN, found, todo=todo)]
    strange = [name for name in config.hosts if not loaded.names_host(name)]
    if strange:
        found = f"{files[0]} is not for {', '.join(strange)}"
        todo = "Have one made with the names in [api] hosts, unless a proxy shows its own."
        return [Check(Group.NETWORK, _NAME, Verdict.WARN, found, todo=todo)]
    return [Check(Group.NETWORK, _NAME, Verdict.PASS, found)]
