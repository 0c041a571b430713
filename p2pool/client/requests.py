"""Makes fresh requests and grants, ready to sign."""

import secrets
import time

from p2pool.model import limits
from p2pool.model.access.grants import LogGrant
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.ids import DIGEST_BYTES, PoolRef


def new_request_id() -> bytes:
    """The random bytes that make a request single-use."""
    return secrets.token_bytes(DIGEST_BYTES)


def request_for(
    pool: PoolRef,
    action: Action,
    target: str = "",
    spec_json: str = "",
    request_id: bytes | None = None,
) -> TaskRequest:
    """A fresh request, valid for ten minutes from now. `request_id`: one from `new_request_id`,
    where what it says had to be bound to it before."""
    now_s = int(time.time())
    return TaskRequest(
        action=action,
        pool_id=pool.pool_id,
        target=target,
        spec_json=spec_json,
        request_id=new_request_id() if request_id is None else request_id,
        not_before_s=now_s,
        not_after_s=now_s + limits.REQUEST_LIFETIME_S,
    )


def grant_for(pool: PoolRef, task_id: str) -> LogGrant:
    """A fresh grant to read a task's logs, valid for as long as limits allow."""
    now_s = int(time.time())
    return LogGrant(pool.pool_id, task_id, now_s, now_s + limits.GRANT_LIFETIME_MAX_S)
