"""The validator's policy file: thresholds, what each failure costs, quiet hours, the budget.

    [policy]         dry_run, finding_age_max_s
    [validate]       passes, apart_s, within_s, passes_after_act
    [slash]          validators, validators_proven, agree_within_s, percent_per_day_max
    [quiet]          hours, still
    [budget]         coin_per_day
    [work]           judge, options, pieces, deadline_s, take_back
    [rules.KIND]     act, times, within_s, penalty_percent

Intuition: a file that is empty is a policy: it is careful, and it is a dry run until it says
otherwise. A rule that is stated is stated whole, so that nobody inherits half of one unseen.

Invariants: an unknown key is refused with the one that was probably meant; each number has bounds.
"""

import re
from collections.abc import Mapping
from typing import Any

import attrs

from p2pool.codec.text.amounts import parse_tokens
from p2pool.drivers.config.validators import Between, OneOf
from p2pool.model import limits
from p2pool.model.errors import Malformed
from p2pool.validator.policy.acts import ActKind
from p2pool.validator.policy.findings import FindingKind

NONE, SOFT, HARD = "none", "soft", "hard"
DAY_S = 86_400
_SECONDS = Between(1, 90 * DAY_S)
_TIMES = Between(1, limits.ACT_FINDINGS_MAX)
"""Of each node so many findings are weighed: a rule that waits for more would never do anything."""
_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


def minutes_of(text: str) -> tuple[int, int]:
    """The first minute of a day and the one after the last, of "22:00-06:00"; ValueError."""
    found = _HOURS.fullmatch(text)
    if found is None:
        raise ValueError(f'{text[:32]!r} is no span of hours such as "22:00-06:00" (UTC)')
    first, last = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    if first == last:
        raise ValueError(f"{text!r} begins when it ends")
    return first, last


def _hours(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """ValueError for what is no list of spans."""
    for text in value:
        minutes_of(text)


def _acts(_self: Any, _field: Any, value: tuple[str, ...]) -> None:
    """ValueError for a word that is no act."""
    for word in value:
        OneOf(tuple(ActKind))(_self, _field, word)


def _coin(_self: Any, _field: Any, value: str) -> None:
    """ValueError for what is no amount."""
    try:
        parse_tokens(value)
    except Malformed as wrong:
        raise ValueError(wrong.message) from wrong


@attrs.frozen(kw_only=True)
class Conduct:
    """`[policy]`: whether anything is sent at all, and how old a finding may be."""

    dry_run: bool = True
    """Tell what would be sent, and send nothing."""
    finding_age_max_s: int = attrs.field(default=7 * DAY_S, validator=_SECONDS)
    """What was found longer ago counts for nothing."""


@attrs.frozen(kw_only=True)
class ValidateRule:
    """`[validate]`: how often a node passes before it is validated."""

    passes: int = attrs.field(default=3, validator=_TIMES)
    """So many passes, since the last failure."""
    apart_s: int = attrs.field(default=600, validator=Between(0, DAY_S))
    """Passes nearer to each other than this count as one."""
    within_s: int = attrs.field(default=DAY_S, validator=_SECONDS)
    """All of them within this time."""
    passes_after_act: int = attrs.field(default=12, validator=_TIMES)
    """So many instead, of a node that was invalidated or removed by us, or would have been, had it
    been validated."""


@attrs.frozen(kw_only=True)
class Rule:
    """`[rules.KIND]`: what a kind of failure leads to; all its keys are stated."""

    act: str = attrs.field(validator=OneOf((NONE, SOFT, HARD)))
    """`soft`: the node loses its validation; `hard`: it leaves the registry too."""
    times: int = attrs.field(validator=_TIMES)
    """After so many of them."""
    within_s: int = attrs.field(validator=_SECONDS)
    """All of them within this time."""
    penalty_percent: int = attrs.field(validator=Between(0, 100))
    """The part of the provider's stake that is slashed for a whole shortfall; a smaller shortfall
    costs less, in proportion. 0: no slash."""


@attrs.frozen(kw_only=True)
class SlashRule:
    """`[slash]`: who has to agree, and how much a day takes at most."""

    validators: int = attrs.field(default=2, validator=Between(1, 100))
    """So many validators have to find a failure that is slashed for, this one among them, and none
    may have found that the node passes."""
    validators_proven: int = attrs.field(default=1, validator=Between(1, 100))
    """So many instead where the node's own signature proves the failure: no validator can invent
    that, and that it passed elsewhere does not unmake it."""
    agree_within_s: int = attrs.field(default=DAY_S, validator=_SECONDS)
    """What others found longer ago is no agreement and no contradiction."""
    percent_per_day_max: int = attrs.field(default=10, validator=Between(0, 100))
    """The most of a provider's stake that goes in any 24 hours."""


@attrs.frozen(kw_only=True)
class Quiet:
    """`[quiet]`: hours in which nobody is awake to answer for an act."""

    hours: tuple[str, ...] = attrs.field(default=(), validator=_hours)
    """Spans of UTC such as "22:00-06:00"."""
    still: tuple[str, ...] = attrs.field(
        default=(ActKind.VALIDATE.value, ActKind.INVALIDATE.value), validator=_acts
    )
    """The acts that are taken nonetheless."""

    def holds(self, kind: ActKind, now_ms: int) -> bool:
        """Whether an act has to wait for the end of the quiet hours."""
        if kind in self.still:
            return False
        minute = now_ms // 60_000 % (24 * 60)
        for first, last in map(minutes_of, self.hours):
            inside = first <= minute < last if first < last else minute >= first or minute < last
            if inside:
                return True
        return False


@attrs.frozen(kw_only=True)
class BudgetRule:
    """`[budget]`: what acts may cost."""

    coin_per_day: str = attrs.field(default="0.01", validator=_coin)
    """The most of the chain's coin that goes for gas in any 24 hours, such as "0.05"."""

    @property
    def per_day_wei(self) -> int:
        """In wei."""
        return parse_tokens(self.coin_per_day)


@attrs.frozen(kw_only=True)
class WorkRule:
    """`[work]`: who judges the work that nodes submit, and how long it may take."""

    judge: str = ""
    """The name of the judge: one that is installed here. Empty: nobody judges."""
    options: Mapping[str, str] = attrs.field(factory=dict)
    """What this judge is told: its own documentation says what it takes."""
    pieces: int = attrs.field(default=4, validator=Between(1, 64))
    """How many pieces are judged in one round."""
    deadline_s: int = attrs.field(default=1800, validator=Between(1, DAY_S))
    """A judge that has not answered by then has no word on the piece."""
    take_back: bool = True
    """Units that were not done are taken back on the chain, where the deployment can do that."""


def _rule(act: str, times: int, within_s: int, penalty_percent: int) -> Rule:
    return Rule(act=act, times=times, within_s=within_s, penalty_percent=penalty_percent)


@attrs.frozen(kw_only=True)
class Rules:
    """`[rules]`: one for each kind of failure."""

    offline: Rule = _rule(SOFT, 12, DAY_S, 0)
    """It did not answer: a machine may be down for a while."""
    refused: Rule = _rule(SOFT, 6, DAY_S, 0)
    """It declines to be checked by us, and answers others."""
    bad_answer: Rule = _rule(SOFT, 3, DAY_S, 0)
    """It answers with what cannot be checked."""
    unopened: Rule = _rule(SOFT, 3, DAY_S, 0)
    """It took the secret, and did not open what was drawn."""
    late: Rule = _rule(SOFT, 3, DAY_S, 0)
    """It is slower than what it claims."""
    short_memory: Rule = _rule(SOFT, 2, DAY_S, 2)
    """It has less memory than it claims."""
    fewer_devices: Rule = _rule(SOFT, 2, DAY_S, 5)
    """It shows fewer devices than it claims."""
    wrong_product: Rule = _rule(HARD, 1, DAY_S, 5)
    """It computed wrongly what it committed to."""
    replayed: Rule = _rule(HARD, 1, DAY_S, 10)
    """It answered with another challenge's answer."""
    contradicted: Rule = _rule(HARD, 1, DAY_S, 10)
    """It signed two answers of which one is a lie."""
    wrong_work: Rule = _rule(SOFT, 1, DAY_S, 2)
    """Work that it submitted is not what it says."""

    def of(self, kind: FindingKind) -> Rule:
        """The rule of a kind of failure."""
        found: Rule = getattr(self, kind.value)
        return found


@attrs.frozen(kw_only=True)
class Policy:
    """The whole file."""

    policy: Conduct = Conduct()
    validate: ValidateRule = ValidateRule()
    slash: SlashRule = SlashRule()
    quiet: Quiet = Quiet()
    budget: BudgetRule = BudgetRule()
    work: WorkRule = attrs.field(factory=WorkRule)
    rules: Rules = Rules()

    @property
    def dry_run(self) -> bool:
        """Whether nothing is sent."""
        return self.policy.dry_run
