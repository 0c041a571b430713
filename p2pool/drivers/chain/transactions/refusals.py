"""What a contract said no with, as a sentence and a hint.

Intuition: deployments refuse in three tongues. Ours raise custom errors with arguments, others
raise texts (`require(..., "ComputePool: invite expired")`), and the EVM itself raises panics. Each
becomes one cause, named as our contracts name it, so whoever decides by the cause (a used invite is
worth a new one) need not know which deployment it talks to.

Invariants: nothing a contract says is formatted into a sentence unless it was checked for form; a
cause that nobody knows is quoted, cut short. Of texts the whole is compared, without regard to
case; endpoints that give no data quote them in the message, and so that is read too.
Source: abi/src; OpenZeppelin Contracts 5, `AccessControl`, `Pausable`, `ERC20`; Solidity, "Panic
via assert and Error via require".
"""

import re
from collections.abc import Mapping

import attrs
from eth_utils.crypto import keccak

from p2pool.drivers.chain import answers
from p2pool.drivers.chain.rpc import Reverted
from p2pool.model.errors import TransactionFailed


@attrs.frozen
class Sentence:
    """A cause in words, and what helps. `{name}` is an argument of the custom error."""

    text: str
    hint: str = ""
    bare: str = ""
    """The same where the deployment gives no arguments; empty: the text needs none."""


_VALIDATOR = "Ask the network's validator."
_NEW_INVITE = "Ask the pool's manager for a new one: p2pool pool invite NODE."
_ADD_STAKE = "Its provider adds to it: p2pool provider stake add."

SENTENCES: Mapping[str, Sentence] = {
    # Providers and their stake.
    "StakeBelowMinimum": Sentence(
        "The stake is too small: {staked} of {needed} wei.",
        _ADD_STAKE,
        bare="The stake is too small for the provider and its nodes.",
    ),
    "StakeTooSmall": Sentence(
        "The stake is {staked} wei, less than {asked}.",
        "Name a smaller amount.",
        bare="The stake is smaller than that.",
    ),
    "StakeAllocated": Sentence(
        "The provider's nodes need that stake.", "Deregister nodes first, or take back less."
    ),
    "TooManyUnbonds": Sentence(
        "Stake was taken back {most} times and is not withdrawn yet.",
        "Withdraw what is due first: p2pool provider withdraw.",
        bare="Stake was taken back too often and is not withdrawn yet.",
    ),
    "NothingToWithdraw": Sentence(
        "Nothing is due for withdrawal yet.", "See when: p2pool provider status."
    ),
    "ProviderExists": Sentence("The provider is already registered."),
    "NoSuchProvider": Sentence(
        "The provider is not registered.", "It registers first: p2pool provider register."
    ),
    "ProviderHasNodes": Sentence(
        "The provider still has {count} nodes.",
        "Deregister them first: p2pool node deregister.",
        bare="The provider still has nodes.",
    ),
    "ProviderHasActiveNodes": Sentence(
        "Nodes of the provider are still in a pool.", "Have them leave first: p2pool pool leave."
    ),
    "NotTheProvider": Sentence(
        "Only the provider itself may do this.", "Use the key of the node's provider."
    ),
    "NotWhitelisted": Sentence("The provider is not whitelisted.", _VALIDATOR),
    "ProviderNotWhitelisted": Sentence("The provider is not whitelisted.", _VALIDATOR),
    # Nodes.
    "NodeExists": Sentence(
        "The node key is already registered, by this or another provider.",
        "See whose it is: p2pool provider status. Another provider's is of no use here; give the"
        " machine another node key: p2pool node rekey.",
    ),
    "NodeOfAnotherProvider": Sentence(
        "The node key belongs to another provider for good, also after that one removed it.",
        "Give the machine another node key: p2pool node rekey.",
    ),
    "EnumerableMapNonexistentKey": Sentence(
        "The node is not registered.", "Register the node first."
    ),
    "NotTheProvidersNode": Sentence(
        "The node is not registered, or belongs to another provider.",
        "Use the key of its provider, or register the node first.",
    ),
    "BadNodeConsent": Sentence(
        "The node key did not consent to this provider.", "Check the node key."
    ),
    "NodeNotValidated": Sentence("The node is not validated.", _VALIDATOR),
    "NodeInAPool": Sentence("The node is already in a pool.", "Leave that pool first."),
    "NodeIsActive": Sentence(
        "The node is in a pool.", "Have it leave first: p2pool pool leave NODE."
    ),
    "NodeInUse": Sentence("The node is in use.", "Have it leave its pool first."),
    "TooManyUnits": Sentence("That many compute units are more than the registry takes."),
    # Pools.
    "NoSuchDomain": Sentence(
        "There is no domain {domainId}.",
        "Ask the network's federator for one.",
        bare="There is no such domain.",
    ),
    "NoSuchPool": Sentence(
        "There is no pool {poolId}.", "Check [pool] id.", bare="There is no such pool."
    ),
    "PoolNotActive": Sentence(
        "The pool is not active.", "Ask its creator or manager to start it; none starts twice."
    ),
    "PoolNotPending": Sentence("The pool has been started before."),
    "NotCreatorOrManager": Sentence(
        "Only the pool's creator or manager may do this.", "Use the key of one of them."
    ),
    "NodeNotInPool": Sentence("The node is not in the pool."),
    "NodeBlacklistedHere": Sentence("The node is blacklisted in this pool for good."),
    "ProviderBlacklistedHere": Sentence("The provider is blacklisted in this pool for good."),
    "ComputeLimitReached": Sentence(
        "The pool is full: {total} of {limit} units.",
        "Ask its manager for a higher limit: p2pool pool set-limit UNITS.",
        bare="The pool is full.",
    ),
    "UnequalArrays": Sentence("The lists of nodes and invites differ in length."),
    "RecordTooLong": Sentence(
        "The pool's record has {size} bytes, more than {most}.",
        "Name fewer bootstrap addresses.",
        bare="The pool's record is too long.",
    ),
    # Invites.
    "InviteExpired": Sentence("The invite has expired.", _NEW_INVITE),
    "InviteUsed": Sentence("The invite has been used before.", _NEW_INVITE),
    "BadInviteSignature": Sentence(
        "The invite is not signed by the pool's manager.",
        "Ask the pool's manager for one for this node and pool.",
    ),
    # Work, where a domain's contract judges it.
    "WorkKnown": Sentence(
        "The work was submitted before.", "Give each piece of work a key of its own."
    ),
    "WorkUnknown": Sentence("There is no such work.", "Check the key, and the pool."),
    "WorkInvalid": Sentence("The work was called invalid before: it stays so."),
    "WorkTooOld": Sentence(
        "The work was submitted too long ago to be taken back.",
        "Act on the node instead: p2pool validator invalidate NODE.",
    ),
    "BadWork": Sentence(
        "The work has no key, or no units, as the domain's contract reads it.",
        "Ask the domain's owner for the form of its work.",
    ),
    # Libraries that deployments share.
    "ERC20InsufficientBalance": Sentence(
        "The account holds too few tokens: {balance} of {needed} wei.",
        "Send it tokens.",
        bare="The account holds too few tokens.",
    ),
    "ERC20InsufficientAllowance": Sentence(
        "The token is not approved for this.", "Approve it first."
    ),
    "AccessControlUnauthorizedAccount": Sentence(
        "The account lacks the role for this.",
        "Ask the network's federator, or use the key of an account that has it.",
    ),
    "EnforcedPause": Sentence(
        "The contract is paused.", "Wait until its owner ends the pause; nothing is lost."
    ),
}
"""Causes, by the names of our contracts' errors; a few are of others alone."""

TEXTS: Mapping[str, str] = {
    "must have validator_role or federator_role": "AccessControlUnauthorizedAccount",
    "insufficient stake": "StakeBelowMinimum",
    "stake amount is below minimum": "StakeBelowMinimum",
    "cannot unstake more than unallocated stake": "StakeAllocated",
    "stakemanager: insufficient balance": "StakeTooSmall",
    "stakemanager: insufficient unbonding balance": "StakeTooSmall",
    "stakemanager: no funds to withdraw": "NothingToWithdraw",
    "stakemanager: index out of bounds": "NothingToWithdraw",
    "provider registration failed": "ProviderExists",
    "provider not registered": "NoSuchProvider",
    "provider has active nodes": "ProviderHasActiveNodes",
    "unauthorized": "NotTheProvider",
    "provider not whitelisted": "NotWhitelisted",
    "invalid signature": "BadNodeConsent",
    "computeregistry: node has already registered with another provider": ("NodeOfAnotherProvider"),
    "computeregistry: node already exists with this provider": "NodeExists",
    "computeregistry: node not found": "EnumerableMapNonexistentKey",
    "computeregistry: node must be inactive to remove": "NodeIsActive",
    "computepool: pool does not exist": "NoSuchPool",
    "computepool: domain does not exist": "NoSuchDomain",
    "computepool: pool is not active": "PoolNotActive",
    "computepool: dest pool is not ready": "PoolNotActive",
    "computepool: pool is not pending": "PoolNotPending",
    "computepool: only creator or manager can perform this action": "NotCreatorOrManager",
    "computepool: only provider can join pool": "NotTheProvider",
    "computepool: only provider can leave pool": "NotTheProvider",
    "computepool: provider cannot be zero address": "NoSuchProvider",
    "computepool: provider is blacklisted": "ProviderBlacklistedHere",
    "computepool: provider has not been allowed to join pools by federator": (
        "ProviderNotWhitelisted"
    ),
    "computepool: node is blacklisted": "NodeBlacklistedHere",
    "computepool: node is not validated": "NodeNotValidated",
    "computepool: node not in pool": "NodeNotInPool",
    "computepool: node can only be in one pool at a time": "NodeInAPool",
    "computepool: node does not exist or not owned by provider": "NotTheProvidersNode",
    "computepool: node not owned by provider": "NotTheProvidersNode",
    "computepool: pool is at capacity": "ComputeLimitReached",
    "computepool: invite expired": "InviteExpired",
    "computepool: invite already used": "InviteUsed",
    "computepool: invalid invite": "BadInviteSignature",
    "work already submitted": "WorkKnown",
    "work not found": "WorkUnknown",
    "work already invalidated": "WorkInvalid",
    "work invalidation window has lapsed": "WorkTooOld",
    "invalid work units": "BadWork",
    "data too short": "BadWork",
    "data too short for soft invalidation": "BadWork",
    "erc20: transfer amount exceeds balance": "ERC20InsufficientBalance",
    "erc20: insufficient allowance": "ERC20InsufficientAllowance",
    "erc20: transfer amount exceeds allowance": "ERC20InsufficientAllowance",
    "pausable: paused": "EnforcedPause",
}
"""Causes, by the texts with which other deployments refuse; in lower case."""

_ROLE_TEXT = re.compile(r"accesscontrol: account 0x[0-9a-f]{40} is missing role 0x[0-9a-f]{64}")
_SELECTORS: Mapping[bytes, str] = {
    keccak(text=f"{name}()")[:4]: name for name in ("EnforcedPause",)
}
"""Errors that none of our contracts declares."""

_PANIC = keccak(text="Panic(uint256)")[:4]
PANICS: Mapping[int, str] = {
    0x01: "an assertion of its own",
    0x11: "an overflow",
    0x12: "a division by zero",
    0x21: "a value that no such kind has",
    0x31: "an empty list",
    0x32: "an entry of a list that is not there",
    0x41: "too much memory",
    0x51: "a function that is not there",
}


def cause_of(reverted: Reverted) -> str:
    """Why a call was refused, by the names of `SENTENCES`; empty if nobody knows."""
    if reverted.name and reverted.name != "Error":
        return reverted.name
    if reverted.name == "Error":
        return _cause_of_text(str(reverted.arguments.get("reason", "")))
    selector = bytes(reverted.data[:4])
    if len(selector) == 4:
        return _SELECTORS.get(selector, "")
    # Without data the endpoint's message may quote the text: "execution reverted: ...".
    told = str(reverted).lower()
    _, _, quoted = told.partition("reverted:")
    return _cause_of_text(quoted.strip(" \"'") or told)


def _cause_of_text(text: str) -> str:
    told = text.strip().lower()
    if _ROLE_TEXT.fullmatch(told):
        return "AccessControlUnauthorizedAccount"
    return TEXTS.get(told, "")


def refusal(what: str, reverted: Reverted) -> TransactionFailed:
    """A revert as a sentence, with a hint if one is known."""
    sentence = SENTENCES.get(cause_of(reverted))
    if sentence is None:
        return TransactionFailed(f"{what} was refused by the contract: {_quoted(reverted)}")
    return TransactionFailed(f"{what} was refused: {_text(sentence, reverted)}", hint=sentence.hint)


def _text(sentence: Sentence, reverted: Reverted) -> str:
    if not sentence.bare:
        return sentence.text
    try:
        return sentence.text.format(**reverted.arguments)
    except KeyError:  # The deployment names the cause alone.
        return sentence.bare


def _quoted(reverted: Reverted) -> str:
    """A cause that nobody knows, as the contract told it."""
    if reverted.data[:4] == _PANIC and len(reverted.data) == 36:
        code = int.from_bytes(reverted.data[4:], "big")
        why = PANICS.get(code, "an error of its own")
        return (
            f"its code failed on {why} (panic {code:#04x})." if code < 256 else "its code failed."
        )
    if not reverted.name:
        return str(reverted)
    arguments = answers.shown(", ".join(f"{k}={v}" for k, v in reverted.arguments.items()))
    return f"{reverted.name}({arguments})"
