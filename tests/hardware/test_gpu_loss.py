"""A GPU is lost when NVML says so time after time; no answer loses none."""

from p2pool.drivers.hardware.gpu_loss import LostGpus
from p2pool.model import limits
from p2pool.model.machine.hardware import Gpu

WELL = Gpu("GPU-a", "t4", 1)
ILL = Gpu("GPU-a", "t4", 1, False, "GPU is lost")
OTHER = Gpu("GPU-b", "t4", 1)


def test_a_card_that_is_told_lost_several_times_is() -> None:
    """Whether it is listed as unhealthy or left out; one well reading makes it count anew."""
    for gone in ((ILL, OTHER), (OTHER,)):
        cards = LostGpus()
        assert cards.read((WELL, OTHER), True) == ()
        for _ in range(limits.GPU_LOST_READINGS - 1):
            assert cards.read(gone, True) == ()
        assert cards.read((WELL, OTHER), True) == ()
        for _ in range(limits.GPU_LOST_READINGS - 1):
            assert cards.read(gone, True) == ()
        assert cards.read(gone, True) == ("GPU-a",)
        assert cards.read((WELL, OTHER), True) == ()


def test_no_answer_loses_no_card() -> None:
    """However long the driver is silent."""
    cards = LostGpus()
    cards.read((WELL, OTHER), True)
    for _ in range(10 * limits.GPU_LOST_READINGS):
        assert cards.read((), False) == ()
