"""Strategies for what accounts sign, as JSON can carry it."""

from hypothesis import strategies as st

from p2pool.model import limits
from p2pool.model.access.delegations import Delegation, Quota, Scope, SignedDelegation
from p2pool.model.ids import Address

NUMBER = st.integers(0, 2**64 - 1)
BIG = st.integers(0, 2**256 - 1)
SIGNATURE = st.binary(min_size=1, max_size=65)
ADDRESS = st.binary(min_size=20, max_size=20)
TEXT = st.text(max_size=40)
MOST = st.none() | st.integers(1, limits.QUOTA_NUMBER_MAX)
QUOTAS = st.builds(
    Quota,
    st.none() | st.integers(0, limits.QUOTA_NUMBER_MAX),
    MOST,
    MOST,
    st.none() | st.integers(0, limits.PRIORITY_MAX),
    st.none() | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,61}", fullmatch=True),
).filter(lambda quota: quota != Quota())
DELEGATION = st.builds(
    Delegation,
    BIG,
    ADDRESS.map(Address),
    st.sampled_from(Scope),
    NUMBER,
    NUMBER,
    st.none() | QUOTAS,
)
DELEGATIONS = st.none() | st.builds(SignedDelegation, DELEGATION, SIGNATURE)
