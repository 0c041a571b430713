"""Encrypts the secrets of a request, for the request that is signed next and for no other.

Intuition: what is encrypted is bound to pool, account and request id, so the id is chosen first;
the specification gets the digest, and the blob goes beside the request.
"""

import time
from typing import TYPE_CHECKING

import attrs

from p2pool.cli.task.secrets.flags import GivenSecrets
from p2pool.client.requests import new_request_id
from p2pool.client.secrets import SealedSecrets, candidates_of, recipients_of, seal
from p2pool.model.tasks.secrets import SecretOwner

if TYPE_CHECKING:
    from p2pool.cli.shared.signer import Signer


@attrs.frozen
class SealedRequest:
    """The id that the request has to have, and what goes into it and beside it."""

    request_id: bytes
    sealed: SealedSecrets


def seal_for(signer: "Signer", given: GivenSecrets) -> SealedRequest:
    """Encrypt for the nodes that the agent knows and the policy allows. `BadSpec`: there is none,
    or the values are not good."""
    pool = signer.client.pool_ref()
    request_id = new_request_id()
    owner = SecretOwner(pool, signer.address, request_id)
    candidates = candidates_of(signer.client.bindings(), pool)
    recipients = recipients_of(candidates, given.policy, pool, int(time.time()))
    sealed = seal(given.values, owner, recipients, given.policy, given.auth)
    return SealedRequest(request_id, sealed)
