"""Amounts of a quota as people write them; apart, because commands that only read show them too."""


def cpus_text(cpu_milli: int) -> str:
    """CPUs as people write them, in one way only."""
    whole, rest = divmod(cpu_milli, 1000)
    return f"{whole}.{rest:03}".rstrip("0") if rest else str(whole)
