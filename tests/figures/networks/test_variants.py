"""tab-variants and its sentences: Sharp MinMax against plain ASAM of the same variant, set and seed."""

from collections.abc import Callable, Sequence

import pytest

from figures.answers.variants import PRESETS, gains_by_variant, minmax_gains, variant_runs
from figures.drawing.style import Theme
from figures.networks.variants import GAIN, NOTHING, tow_by_variant
from figures.tables.records import Records
from repro.records.record import Record

Run = Callable[..., Record]
Of = Callable[[Sequence[Record]], Records]
GAINS = {("correct", 0.05): (-0.1, -0.2), ("correct", 0.01): (0.1, 0.2), ("official-release", 0.05): (0.3, 0.1)}


@pytest.fixture
def variants(run: Run, records_of: Of) -> Records:
    """Return two seeds of ASAM and Sharp MinMax in two variants, one of them at two cutoffs of the mask."""
    found = []
    for preset in ("correct", "official-release"):
        for seed in range(2):
            shared = {"preset": preset, "seed": seed, "difficulty": "random", "pretrain": "sgd", "lr": 0.02}
            number = {"original_tow": 0.4}
            found.append(run(**shared, rule="asam-1.0", number=number | {"tow": 0.5 + 0.1 * seed}))
            found += [run(**shared, rule="minmax-asam-1.0", mask_fraction=cutoff,
                          number=number | {"tow": 0.5 + 0.1 * seed + gains[seed]})
                      for (name, cutoff), gains in GAINS.items() if name == preset]  # fmt: skip
    return records_of(found)


def test_each_cutoff_is_compared_with_plain_asam_of_its_own_variant_and_seed(variants: Records) -> None:
    gains = minmax_gains(variant_runs(variants)[1]).sort_values("seed")
    found = {key: tuple(rows["value"]) for key, rows in gains.groupby(["preset", "mask_fraction"])}
    assert found.keys() == GAINS.keys()
    assert all(found[key] == pytest.approx(values) for key, values in GAINS.items())


def test_variants_are_compared_at_the_cutoff_that_all_have_and_another_sentence_has_each_cutoff(
    variants: Records, records_of: Of
) -> None:
    meaning, said, by_cutoff = gains_by_variant(variants)
    assert [name for name in PRESETS.values() if name.lower() not in meaning.lower()] == [], "each is explained"
    assert said.startswith("On random images")
    assert "-0.150 [-0.200 to -0.100 by seed] as corrected and +0.200 [+0.100 to +0.300 by seed] as released" in said
    assert by_cutoff == (
        "On random images, the same as corrected by the mask's cutoff: +0.150 [+0.100 to +0.200 by seed] at 0.01 and "
        "-0.150 [-0.200 to -0.100 by seed] at 0.05."
    )
    assert gains_by_variant(records_of([])) == []


def test_seeds_above_plain_asam_are_counted_by_variant_over_all_forget_sets(
    variants: Records, run: Run, records_of: Of
) -> None:
    shared = {"seed": 0, "difficulty": "high", "pretrain": "sgd"}
    high = [run(**shared, preset=preset, rule=rule, number={"tow": tow}, **cutoff)
            for preset, gain in (("correct", 0.1), ("official-release", -0.1))
            for rule, tow, cutoff in (("asam-1.0", 0.5, {}), ("minmax-asam-1.0", 0.5 + gain, {"mask_fraction": 0.05}))
            ]  # fmt: skip
    said = gains_by_variant(records_of([*variants.of("unlearn"), *high]))[-1]
    assert "in this many seeds: 1 of 3 as corrected and 2 of 3 as released." in said


def test_the_table_has_a_line_for_each_variant_and_cutoff_with_its_rate(variants: Records, records_of: Of) -> None:
    drawn = tow_by_variant(variants, Theme())
    assert drawn.display is not None
    lines = drawn.display.set_index(["variant", "mask"])
    assert list(lines.index) == [("as corrected", "0.01"), ("as corrected", "0.05"), ("as released", "0.05")]
    assert set(lines[NOTHING]) == {"40.0 ± 0.0 (2)"}
    assert set(lines["ASAM 1.0"]) == {"55.0 ± 7.1 (2) [0.02]"}
    assert lines.loc[("as corrected", "0.01"), GAIN] == "15.0 ± 7.1 (2)"
    assert lines.loc[("as released", "0.05"), GAIN] == "20.0 ± 14.1 (2)"
    assert tow_by_variant(records_of([]), Theme()).missing


def test_cutoffs_stand_in_order_where_another_forget_set_has_only_the_largest(
    variants: Records, run: Run, records_of: Of
) -> None:
    shared = {"preset": "correct", "seed": 0, "difficulty": "high", "pretrain": "sgd", "number": {"tow": 0.5}}
    high = [run(**shared, rule="asam-1.0"), run(**shared, rule="minmax-asam-1.0", mask_fraction=0.05)]
    drawn = tow_by_variant(records_of([*high, *variants.all]), Theme()).display
    assert drawn is not None
    assert list(zip(drawn["forget set"], drawn["mask"], strict=True)) == [
        ("high", "0.05"), ("random", "0.01"), ("random", "0.05"), ("random", "0.05")
    ]  # fmt: skip
