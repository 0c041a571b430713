"""`p2pool validator`: who may register, which nodes may work, and what a cheat loses."""

import click

from p2pool.cli.lazy import LazyGroup

HEAVY = {
    "blacklist": (
        "p2pool.cli.validator.providers:blacklist",
        "Keep providers' nodes from work in every pool, as validator.",
    ),
    "check": (
        "p2pool.cli.validator.run:check",
        "Challenge a node once by hand, as validator, and print the verdict.",
    ),
    "invalidate": (
        "p2pool.cli.validator.nodes:invalidate",
        "Keep nodes out of pools, as validator.",
    ),
    "invalidate-work": (
        "p2pool.cli.validator.work:invalidate_work",
        "Take work back that nodes submitted to a pool, as validator.",
    ),
    "judge": (
        "p2pool.cli.validator.judge:judge",
        "Judge the work that nodes submitted to a pool since the last time, some pieces at a time.",
    ),
    "policy": (
        "p2pool.cli.validator.policy:policy",
        "Check a policy file and show all of it, with what it leaves unsaid.",
    ),
    "run": (
        "p2pool.cli.validator.run:run",
        "Challenge the nodes of a pool, and those that wait to be validated, until SIGINT or"
        " SIGTERM.",
    ),
    "slash": (
        "p2pool.cli.validator.slash:slash",
        "Take of a provider's stake for good, as validator.",
    ),
    "validate": ("p2pool.cli.validator.nodes:validate", "Let nodes enter pools, as validator."),
    "whitelist": (
        "p2pool.cli.validator.providers:whitelist",
        "Let providers register nodes, as validator or federator.",
    ),
}


@click.group(
    name="validator",
    cls=LazyGroup,
    table=HEAVY,
    help="Challenge nodes, validate them, and act on those that cheat.",
)
def validator() -> None:
    """The group."""
