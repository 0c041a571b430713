"""`p2pool provider`: a life on the chain, from the first stake to the last withdrawal."""

import click

from p2pool.cli.lazy import LazyGroup

HEAVY = {
    "claim": (
        "p2pool.cli.provider.claim:claim",
        "Claim what your nodes have earned, where the deployment pays rewards.",
    ),
    "deregister": (
        "p2pool.cli.provider.registration:deregister",
        "Leave the network for good: nodes, registration, stake.",
    ),
    "register": (
        "p2pool.cli.provider.registration:register",
        "Stake and register as a provider.",
    ),
    "stake": ("p2pool.cli.provider.stake:stake", "Add to the stake, or take some of it back."),
    "status": (
        "p2pool.cli.provider.status:status",
        "Show a provider's stake, means, nodes and rewards, as the chain has them.",
    ),
    "submit-work": (
        "p2pool.cli.provider.work:submit_work",
        "Submit work that a node of yours has done.",
    ),
    "withdraw": (
        "p2pool.cli.provider.stake:withdraw",
        "Take what has come out of the unbonding.",
    ),
}


@click.group(
    name="provider",
    cls=LazyGroup,
    table=HEAVY,
    help="Stake, register and leave the network, as a provider.",
)
def provider() -> None:
    """The group."""
