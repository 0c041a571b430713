"""Whatever receivers answer, attempts and pauses have bounds, and nothing is given up too early."""

from hypothesis import given
from hypothesis import strategies as st

from p2pool.agent.notify.patience import CHANCES, GONE, Patience, Step, Verdict
from p2pool.model import limits

statuses = st.one_of(st.none(), st.integers(100, 599))
chances = st.integers(0, CHANCES)


@given(st.lists(st.tuples(statuses, chances, st.integers(0, 10**12)), max_size=60))
def test_every_pause_has_its_bounds(answers: list[tuple[int | None, int, int]]) -> None:
    """After a failure at least half of the least, never more than the most, whatever the receiver
    asks for; after a success none."""
    patience, now_ms = Patience(), 0
    patience.begin(now_ms)
    for status, chance, wanted_ms in answers:
        verdict = patience.judge(status, now_ms, chance, wanted_ms)
        assert 0 <= verdict.pause_ms <= limits.WEBHOOK_PAUSE_MAX_MS
        if verdict.step is Step.DELIVERED:
            assert verdict.pause_ms == 0
        elif verdict.step is not Step.ENDED:
            assert verdict.pause_ms >= limits.WEBHOOK_PAUSE_MIN_MS // 2
        now_ms += verdict.pause_ms
        if verdict.step is not Step.AGAIN:
            patience.begin(now_ms)


@given(st.lists(statuses.filter(lambda s: s is None or not 200 <= s < 300), min_size=1), chances)
def test_a_message_is_given_up_in_the_end(answers: list[int | None], chance: int) -> None:
    """Its attempts are bounded, and so is its time, by the age and one more pause."""
    patience, now_ms, attempts = Patience(), 0, 0
    patience.begin(now_ms)
    while True:
        attempts += 1
        verdict = patience.judge(answers[attempts % len(answers)], now_ms, chance)
        if verdict.step is not Step.AGAIN:
            break
        now_ms += verdict.pause_ms
    assert attempts <= limits.WEBHOOK_ATTEMPTS_MAX
    assert now_ms <= limits.WEBHOOK_AGE_MAX_MS + limits.WEBHOOK_PAUSE_MAX_MS


@given(chances)
def test_who_is_away_for_less_than_a_day_loses_nothing(chance: int) -> None:
    """Attempts do not run out before the time does."""
    patience, now_ms = Patience(), 0
    patience.begin(now_ms)
    while now_ms < limits.WEBHOOK_AGE_MAX_MS:
        verdict = patience.judge(None, now_ms, chance)
        assert verdict.step is Step.AGAIN
        now_ms += verdict.pause_ms


def test_pauses_double_and_a_success_ends_them() -> None:
    """They are of the receiver: the next message after one that was given up waits as long."""
    patience = Patience()
    patience.begin(0)
    pauses = [patience.judge(503, 0, CHANCES).pause_ms for _ in range(4)]
    assert pauses == [1_000, 2_000, 4_000, 8_000]
    patience.begin(0)
    assert patience.judge(503, 0, CHANCES).pause_ms == 16_000
    assert patience.judge(204, 0, CHANCES) == Verdict(Step.DELIVERED)
    patience.begin(0)
    assert patience.judge(None, 0, CHANCES).pause_ms == 1_000


def test_a_refusal_is_given_up_soon_and_a_full_receiver_is_not() -> None:
    """A bad message stands in the way of the others; 429 says nothing against it."""
    patience = Patience()
    patience.begin(0)
    steps = [patience.judge(400, 0, 0).step for _ in range(limits.WEBHOOK_REFUSALS_MAX)]
    assert steps == [Step.AGAIN] * (limits.WEBHOOK_REFUSALS_MAX - 1) + [Step.GIVEN_UP]
    for status in (408, 425, 429, 500, 503, None):
        patience.begin(0)
        answers = {
            patience.judge(status, 0, 0).step for _ in range(limits.WEBHOOK_REFUSALS_MAX + 1)
        }
        assert answers == {Step.AGAIN}, status


def test_who_is_gone_is_asked_no_more() -> None:
    """410 ends it at once."""
    patience = Patience()
    patience.begin(0)
    assert patience.judge(GONE, 0, 0).step is Step.ENDED
