import pytest

from tests.cluster.conftest import Slurm

pytestmark = pytest.mark.cluster


def test_up(slurm: Slurm) -> None:
    print(slurm.call("sinfo"))
    print(slurm.call("srun", "hostname"))
