"""Plans follow from the table of figures, and ask for what they are said to ask for."""

import json

import pytest

from p2pool.model.errors import Misconfigured, NotAllowed, NotFound
from p2pool.model.machine.hardware import Gpu
from p2pool.proofs.validation.derivation import LINE_BYTES
from p2pool.proofs.validation.judgement import check_plan
from p2pool.validator.challenge.figures import TABLE, expected_figures, read_table
from p2pool.validator.challenge.plan import (
    REDERIVED_PERMILLE,
    found_probability,
    opened_for,
    plan_for,
    relay_slack_ms,
)


def test_every_model_of_the_table_has_a_plan() -> None:
    """With a round of about a second at the data sheet, and sizes within all bounds."""
    table = expected_figures()
    for row in table.models:
        plan = plan_for([Gpu("GPU-0", row.names[0], row.memory_bytes)], table)
        check_plan(plan)
        work = plan.devices[0]
        at_full_ms = work.product.operations * 1000 // row.int8_ops_per_s
        assert 950 <= at_full_ms <= 1000, row.names
        assert plan.products.due_ms > at_full_ms * 1000 // row.product_permille
        assert work.memory.size_bytes >= row.memory_bytes * 890 // 1000
        assert 0 < relay_slack_ms(plan, table) < 10_000


def test_what_is_missing_cannot_be_derived_within_a_round() -> None:
    """The fastest card of the model, with nothing else to do, is late with a twentieth missing."""
    table = expected_figures()
    for row in table.models:
        plan = plan_for([Gpu("GPU-0", row.names[0], row.memory_bytes)], table)
        memory = plan.devices[0].memory
        lines = memory.size_bytes * REDERIVED_PERMILLE // 1000 // LINE_BYTES
        hashes = lines * memory.repeats * memory.passes
        assert hashes * 1000 // row.hashes_per_s_max >= plan.scans.due_ms, row.names


def test_openings_are_as_many_as_the_soundness_needs() -> None:
    """One fake row in a hundred, missed in a twentieth of challenges: 299 rows."""
    assert opened_for(10, 50) == 299
    assert found_probability(0.01, 299) >= 0.95 > found_probability(0.01, 298)
    assert found_probability(0.10, 299) > 1 - 1e-13


def test_a_model_without_figures_is_not_guessed_at() -> None:
    """The operator is told what to add, and where."""
    with pytest.raises(NotFound, match=r"figures\.json"):
        plan_for([Gpu("GPU-0", "NVIDIA Unheard", 2**30)], expected_figures())
    with pytest.raises(NotAllowed):
        plan_for([], expected_figures())
    with pytest.raises(NotAllowed, match="memory"):
        plan_for([Gpu("GPU-0", "Tesla T4", 0)], expected_figures())
    # A card that tells a validator a kilobyte would show that much, and pass as a whole one.
    with pytest.raises(NotAllowed, match="a whole Tesla T4 has"):
        plan_for([Gpu("GPU-0", "Tesla T4", 1024)], expected_figures())
    assert plan_for([Gpu("GPU-0", "Tesla T4", 15_843_721_216)], expected_figures()).devices


@pytest.mark.parametrize("wrong", ["a figure", "a source", "a key", "twice"])
def test_a_table_that_is_wrong_is_refused(wrong: str) -> None:
    """Each row has all figures, as positive numbers, and says where they are from."""
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    row = content["models"][0]
    if wrong == "a figure":
        row["memory_bytes"] = 0
    elif wrong == "a source":
        row["source"] = ""
    elif wrong == "a key":
        row["int8_ops"] = 1
    else:
        content["models"].append(row)
    with pytest.raises(Misconfigured):
        read_table(json.dumps(content))


def test_a_table_may_bring_sizes_of_its_own() -> None:
    """Those that it names; a size that no plan may have, and a key that means nothing, are told."""
    content = json.loads(TABLE.read_text(encoding="utf-8"))
    content["sizes"] = {"rows": 256, "inner": 512, "late_scans": 1}
    sizes = read_table(json.dumps(content)).sizes
    assert (sizes.rows, sizes.inner, sizes.late_scans, sizes.columns) == (256, 512, 1, 1024)
    model = content["models"][0]["names"][0]
    whole = Gpu("GPU-0", model, content["models"][0]["memory_bytes"])
    work = plan_for([whole], read_table(json.dumps(content))).devices[0]
    assert (work.product.rows, work.product.inner) == (256, 512)
    for wrong, said in (
        ({"rows": 0}, "rows"),
        ({"inner": 510}, "inner"),
        ({"block_bytes": 100}, "block_bytes"),
        ({"rows_opened": 10**6}, "rows_opened"),
        ({"rowz": 1}, "rowz"),
        ({"late_scans": 3}, "late"),
        ([1], "an object"),
    ):
        with pytest.raises(Misconfigured, match=said):
            read_table(json.dumps({**content, "sizes": wrong}))
    with pytest.raises(Misconfigured, match="sizez"):
        read_table(json.dumps({**content, "sizez": {}}))
