"""Plans of one small device, to count what is drawn of its rows."""

from p2pool.model.validation.work import DeviceWork, MemoryWork, Plan, ProductWork, Rounds


def plan_of(rows: int, opened: int) -> Plan:
    """A plan with so many rows in all."""
    work = DeviceWork(
        uuid="GPU-0",
        model="",
        memory_bytes=64,
        product=ProductWork(products=1, rows=rows, inner=4, columns=4),
        memory=MemoryWork(blocks=1, block_bytes=64, repeats=1, passes=1),
    )
    one = Rounds(count=1, due_ms=60_000, late_max=0, opened=1)
    products = Rounds(count=1, due_ms=60_000, late_max=0, opened=opened)
    return Plan(
        figures_version=1,
        devices=(work,),
        products=products,
        scans=one,
        fill_due_ms=60_000,
        openings_due_ms=60_000,
    )
