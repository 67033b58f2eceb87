"""How learning rate and epochs follow the dimension when cells of different d are compared."""

from theory.config import TheoryConfig

# As in Chen et al. 2023; beyond d = 16000 a step then overshoots, eta d / (m B) > 1.
LEARNING_RATE = 0.01


def default_clock(cell: TheoryConfig) -> TheoryConfig:
    """Return the cell as it is: a learning rate proportional to 1/d and the epochs it names."""
    return cell


def fixed_clock(cell: TheoryConfig) -> TheoryConfig:
    """Return the cell at the learning rate of Chen et al. 2023, whatever d is."""
    return cell.changed(eta_scale=LEARNING_RATE * cell.d)


def scaled_clock(cell: TheoryConfig, power: float = 0.5) -> TheoryConfig:
    """Return the cell at a learning rate proportional to 1/d, trained longer in proportion to d^power.

    A signal of fixed strength s learns in `1 / (eta |phi|^2) ~ sqrt(d)` epochs, a signal of fixed |phi| in `~ d`.
    """
    longer = (cell.d / 4000) ** power
    return cell.changed(pretrain_epochs=round(cell.pretrain_epochs * longer), epochs=round(cell.epochs * longer))


def linear_clock(cell: TheoryConfig) -> TheoryConfig:
    """Return the cell at a learning rate proportional to 1/d, trained longer in proportion to d."""
    return scaled_clock(cell, power=1.0)
