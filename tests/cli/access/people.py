"""Who takes part in these tests, with what they hold: a manager, and a delegate of it."""

import json
import time
from pathlib import Path
from typing import Any

import attrs
from eth_account import Account
from eth_account.signers.local import LocalAccount

from p2pool.cli.shared.delegations.delegation_file import write_delegation
from p2pool.model.access.delegations import Delegation, DelegationFile, Quota, Scope
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import Address, PoolRef
from p2pool.wire.typed_data import sign_delegation
from tests.api.conftest import Served
from tests.client.conftest import PASSPHRASE
from tests.wire.samples import ACCOUNT, OTHER_ACCOUNT, POOL

MANAGER = Address(bytes.fromhex(ACCOUNT.address[2:]))
DELEGATE = Address(bytes.fromhex(OTHER_ACCOUNT.address[2:]))
DELEGATE_TEXT = "0x" + DELEGATE.hex()
NOBODY = Account.from_key(b"n" * 32)


def key_file(directory: Path, name: str, account: LocalAccount, **changed: Any) -> Path:
    """A key file whose passphrase is PASSPHRASE; a field that is changed to None is left out."""
    stored = Account.encrypt(account.key, PASSPHRASE, kdf="pbkdf2", iterations=1) | changed
    path = directory / f"{name}.json"
    path.write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))
    return path


def delegation_file(
    path: Path,
    *,
    by: LocalAccount = ACCOUNT,
    to: Address = DELEGATE,
    scope: Scope = Scope.SUBMIT,
    pool: PoolRef = POOL,
    begin_s: int = -60,
    end_s: int = 3600,
    quota: Quota | None = None,
) -> Path:
    """A delegation in a file; its times count from now."""
    now_s = int(time.time())
    given = Delegation(
        pool_id=pool.pool_id,
        delegate=to,
        scope=scope,
        not_before_s=now_s + begin_s,
        not_after_s=now_s + end_s,
        quota=quota,
    )
    grantor = Address(bytes.fromhex(by.address[2:]))
    held = DelegationFile(pool, grantor, sign_delegation(pool, by, given))
    write_delegation(path, held, force=True)
    return path


def ruled_by(served: Served, creator: Address | None, manager: Address | None = None) -> None:
    """Let the agent know who rules its pool, which takes limits; None: it has not read it."""
    view = served.port.seen
    assert view.roster is not None
    roster = None
    if creator is not None:
        roster = attrs.evolve(view.roster, creator=creator, manager=manager or creator)
    served.port.seen = attrs.evolve(view, roster=roster, feature_level=DISTRUST_LEVEL)
