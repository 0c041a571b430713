"""The report says what the run showed: an honest prover that failed, and cheats that got away."""

import attrs
import pytest

from p2pool.model.validation.evidence import Conclusion
from tests.e2e.validator.calibration import calibrated
from tests.validation_report.measured import measure
from tests.validation_report.report import report
from tests.validation_report.soundness import Soundness, challenged, drawn


def test_a_challenge_is_measured_on_both_sides() -> None:
    """Every figure of the honest prover's challenge is there, and is one."""
    table = calibrated()
    one = measure(table)
    assert len(one.step_ms) == one.plan.steps
    assert 0 < one.sent_bytes < one.document_bytes < 2 * one.received_bytes
    assert min(one.prover_cpu_s, one.node_cpu_s, one.conclude_s, one.verify_s) > 0
    assert one.shown.memory_bytes == one.plan.devices[0].memory.size_bytes
    failed = attrs.evolve(
        one, whole_s=1e6, evidence=attrs.evolve(one.evidence, conclusion=Conclusion.INVALID)
    )
    text = report(table, [one, failed], [Soundness("draws", 60, 0.4528, 9, 24)], 1.25)
    valid = int(one.evidence.conclusion is Conclusion.VALID)
    assert f"**{valid} of 2 challenges of the honest prover passed.**" in text
    assert "the slowest 1000000.00 s" in text
    assert "| draws | 60 | 45.28% | 9 of 24 (37.50%) | 0.29 |" in text


def test_what_is_measured_of_cheats_is_what_happens() -> None:
    """A fake of every row is always drawn; an honest node is never found."""
    assert drawn(1, 3).found == 3
    *cheats, honest = challenged(2)
    assert (honest.found, honest.stated) == (0, 0.0)
    assert all(one.tried == 2 for one in cheats)


def test_a_measured_part_is_held_against_what_is_stated() -> None:
    """A few less than stated is chance, half of it is not; what is never found has to be so."""
    assert Soundness("", 1, 0.793, 37, 50).chance == pytest.approx(0.222, abs=0.001)
    assert Soundness("", 1, 0.793, 50, 50).chance == pytest.approx(1.0)
    assert Soundness("", 1, 0.793, 20, 50).chance < 1e-6
    assert [Soundness("", 1, 0.0, found, 50).chance for found in (0, 1)] == [1.0, 1.0]
    assert [Soundness("", 1, 1.0, found, 50).chance for found in (49, 50)] == [0.0, 1.0]
