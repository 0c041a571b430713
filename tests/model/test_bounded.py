"""A table with a bound never outgrows it, however it is filled, and loses its oldest rows first."""

from p2pool.model.bounded_tables import BoundedDict


def test_the_oldest_row_goes_for_the_newest() -> None:
    """A row that is set again keeps its age; a renewed one is the newest."""
    table: BoundedDict[str, int] = BoundedDict(3)
    for number, name in enumerate("abc"):
        table[name] = number
    table["a"] = 7
    table["d"] = 3
    assert list(table) == ["b", "c", "d"]
    table.renew("b", 9)
    table["e"] = 4
    assert list(table.items()) == [("d", 3), ("b", 9), ("e", 4)]


def test_no_way_of_filling_it_goes_around_the_bound() -> None:
    """Not by a default, not by another table, not by renewing."""
    table: BoundedDict[int, int] = BoundedDict(2)
    for number in range(5):
        assert table.setdefault(number, number) == number
    assert list(table) == [3, 4]
    table.update({number: number for number in range(10, 15)})
    assert list(table) == [13, 14]
    table |= {20: 20}
    table.renew(21, 21)
    assert list(table) == [20, 21]
