"""The paper's claims on networks: which effect judges each one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from figures.answers.found import SETS, Claim, Found, Template, found, listed
from figures.answers.rates import equal_gradients, rates_chosen_again
from figures.answers.runs import ACCURACIES, RETRAINED, SAM, floors_of, rule_effects, run_table
from figures.answers.variants import MINMAX, PLAIN, gains_by_variant, variant_runs
from figures.tables.names import rule_label
from figures.tables.records import Studies
from repro.statistics.answers import OPEN, OPPOSITE, YES, answer, answer_of
from repro.statistics.effects import Pooled, Table, combine_seeds, pool, unpaired, voting
from repro.statistics.spread import mean_tug_of_war

MAIN, SWEEP, MASK, COMPUTE = "cifar10", "cifar10-alpha", "cifar10-mask", "cifar10-compute"
RANDOM = {"cifar10-random": "SGD", "cifar10-random-asam": "ASAM"}  # and its pretraining rule
RATES = {"cifar10-rates": "SGD", "cifar10-rates-asam": "ASAM"}
VARIANTS = {"cifar10-variants": "random", "cifar10-variants-high": "high"}  # and its forget set
METHODS = ("neggrad", "random_label", "salun", "l1_sparse", "scrub")
GRADED = ("high", "mid", "low")
NO_ROWS: Table = pd.DataFrame()  # of an effect that is not a difference of pairs
LEVEL = 0.5  # of ToW: below it a model has collapsed
BASINS = [f"landscape_{name}_basin_ratio" for name in ("forget", "test")]


def main_runs(studies: Studies, name: str = MAIN) -> Table:
    """Return the rows of `run_table` for a study and the paper's methods, with `study`. The table is made once."""

    def made() -> Table:
        runs = run_table(studies.of(name))
        return runs[runs["method"].isin(METHODS)].assign(study=name) if len(runs) else runs

    return studies.of(name).once("answers", made)


def judged_runs(studies: Studies) -> Table:
    """Return the runs of `main_runs` on graded forget sets, and on random ones where these have been run."""
    return runs_of(studies, [MAIN, *RANDOM])


def runs_of(studies: Studies, names: Iterable[str]) -> Table:
    """Return the rows of `main_runs` for several studies, each run once."""
    parts = [main_runs(studies, name) for name in names]
    filled = [runs for runs in parts if len(runs)]
    return pd.concat(filled, ignore_index=True).drop_duplicates("run_id") if filled else parts[0]


def not_run(studies: Studies, names: Mapping[str, str], what: str) -> list[str]:
    """Return a sentence for each study that has not been run: `what` it would show, filled in by its entry."""
    lacking = {name: one for name, one in names.items() if not studies.of(name).all}
    return [f"{what.format(one)} have not been run: recipes/{name}.toml." for name, one in lacking.items()]


def no_random_sets(studies: Studies) -> list[str]:
    """Return a sentence for each pretraining rule after which random forget sets have not been run."""
    return not_run(studies, RANDOM, "Random forget sets, as the paper has them on CIFAR-10, after {} pretraining")


def finer_rates(studies: Studies) -> list[str]:
    """Return what `rates_chosen_again` says of the studies with finer rates, and which of them have not been run."""
    missing = not_run(studies, RATES, "Finer rates after {} pretraining")
    return [*rates_chosen_again(runs_of(studies, RATES), main_runs(studies)), *missing]


def no_variants(studies: Studies) -> list[str]:
    """Return a sentence for each forget set on which the variants of the released code have not been run."""
    names = {name: SETS[forget_set] for name, forget_set in VARIANTS.items()}
    return not_run(studies, names, "The variants of the released code on {}")


def judged_sets(runs: Table) -> list[str]:
    """Return the forget sets by which a claim is judged: the graded ones, and random ones if there are any."""
    return [*GRADED, *{"random"}.intersection(runs["forget_set"])]


def compared(
    runs: Table, value: str, say: Template, *, rules: Sequence[str] = SAM, base: str = "sgd", beyond: Sequence[str] = ()
) -> Found:
    """Return what is found when `rules` are compared with the rule `base`, for each forget set."""
    if value not in runs:
        return Found()
    effects = rule_effects(runs, value, rules, base)
    judged = partial(answer, margin=say.margin, sign=say.sign, forget_sets=judged_sets(runs))
    silent = sorted(set(effects.loc[effects["no_vote"] != "", "setting"]))
    silenced = [f"{listed(silent)} {'has' if len(silent) == 1 else 'have'} no vote. With all runs the answer is: "
              f"{judged(effects).word}."] if silent else []  # fmt: skip
    used = runs[runs["rule"].isin([*rules, base])]
    floors = floors_of(used) if say.unit == "ToW" else {}
    return found(judged(voting(effects)), effects, say, floors=floors, beyond=[*silenced, *beyond],
                 runs=list(used["run_id"]))  # fmt: skip


def sam_unlearns_better(studies: Studies) -> Found:
    """Judge 1a: ToW with SAM or ASAM minus ToW with SGD, same models and seed."""
    say = Template("SAM and ASAM unlearn {part} better than SGD, by {size} ToW",
                   "SAM and ASAM unlearn {part} worse than SGD, by {size} ToW", "ToW")  # fmt: skip
    beyond = [*at_equal_gradients(studies), *finer_rates(studies), *no_random_sets(studies)]
    return compared(judged_runs(studies), "tow", say, beyond=beyond)


def at_equal_gradients(studies: Studies) -> list[str]:
    """Return a sentence on what ASAM gains on SGD if both take as many gradients."""
    return equal_gradients(main_runs(studies), main_runs(studies, COMPUTE))


def sam_pretrains_better(studies: Studies) -> Found:
    """Judge 1b: ToW of NegGrad after ASAM minus after SGD, each averaged over all retrained models of the forget set.

    The two groups share no model, so that the interval is Welch's. Sharp MinMax and SAM on R only are left out:
    they would dominate a mean over rules.
    """
    runs = judged_runs(studies)
    if runs.empty:
        return Found()
    say = Template("for {part} pretraining by ASAM gains {size} ToW", "for {part} pretraining by ASAM loses {size} ToW",
                   "ToW")  # fmt: skip
    mine = with_pretraining(runs[(runs["method"] == "neggrad") & runs["rule"].isin(["sgd", *SAM])])
    mine = mine[mine.groupby("forget_set")["pretrain"].transform("nunique") > 1]
    parts: dict[str, Pooled] = {}
    for name in judged_sets(mine):
        rows = mine[mine["forget_set"] == name]
        references = runs[runs["forget_set"] == name].drop_duplicates("reference")[RETRAINED].to_numpy(float)
        if rows.empty:
            continue
        tow = mean_tug_of_war(rows[list(ACCURACIES)].to_numpy(float), references)
        parts |= _unpaired(rows.assign(value=tow, setting="NegGrad by " + rows["rule"].map(rule_label)), name)
    beyond = [
        "The models pretrained by SGD and by ASAM may come from two machines: see what must be said openly.",
        *no_random_sets(studies),
    ]
    judged = answer_of(parts, margin=say.margin, sign=say.sign)
    return found(judged, NO_ROWS, say, floors=floors_of(mine), beyond=beyond, runs=list(mine["run_id"]))


def with_pretraining(runs: Table) -> Table:
    """Add to each run its share of the time that a further seed's original and retrained models take.

    No record holds the seconds of pretraining: it counts as much as retraining. Studies do not share an original model.
    """
    shared = (["study", "pretrain", "reference"], ["study", "pretrain", "seed"])
    shares = sum(1 / runs.groupby(keys)["run_id"].transform("size") for keys in shared)
    return runs.assign(seconds=runs["seconds"] + runs["shared_seconds"] * shares)


def _unpaired(rows: Table, part: str) -> dict[str, Pooled]:
    """Return the effect of pretraining by ASAM on `value`, from rows with `pretrain`, `seed`, `setting`, `seconds`."""
    arms = [
        combine_seeds(rows[rows["pretrain"] == name].assign(forget_set=part, contrast="", block=rows["seed"].map(str)))
        for name in ("asam-1.0", "sgd")
    ]
    settings = unpaired(*arms)
    return {part: pool(settings)} if settings.names else {}


def overfitting_helps(studies: Studies) -> Found:
    """Judge 2: ToW of Sharp MinMax minus ToW of its own rule without the mask."""
    say = Template("the paper's Sharp MinMax unlearns {part} better than plain ASAM, by {size} ToW",
                   "the paper's Sharp MinMax unlearns {part} worse than plain ASAM, by {size} ToW", "ToW")  # fmt: skip
    runs = judged_runs(studies)
    beyond = [*_judged_cutoffs(runs), *best_cutoff(studies), *no_random_sets(studies),
              *gains_by_variant(studies.of(*VARIANTS)), *no_variants(studies)]  # fmt: skip
    return compared(runs, "tow", say, rules=[MINMAX], base=PLAIN, beyond=beyond)


def _judged_cutoffs(runs: Table) -> list[str]:
    """Return a sentence on the variant and the cutoff of the mask by which claim 2 is judged."""
    masked = runs[runs["rule"] == MINMAX] if "mask_fraction" in runs else NO_ROWS
    if masked.empty:
        return []
    shares = listed([f"{100 * cutoff:g} %" for cutoff in sorted(masked["mask_fraction"].dropna().unique())])
    return [f"The answer is for Sharp MinMax as corrected, with {shares} of the weights on the forget side."]


def cutoffs_tried(studies: Studies) -> list[Table]:
    """Return ToW of Sharp MinMax as corrected, after SGD, on the hardest images, by the cutoff of its mask.

    One table for each study that has cutoffs, as each chose its own rates: `MASK`, whose runs without a mask are in
    `MAIN`, and `VARIANTS`. Columns: `mask_fraction`, `tow`, and `plain`, ToW of plain ASAM.
    """
    variants = variant_runs(studies.of(*VARIANTS))[1]
    variants = variants[variants["preset"] == "correct"] if len(variants) else variants
    tables = []
    for masks, plain in ((main_runs(studies, MASK), main_runs(studies)), (variants, variants)):
        if masks.empty or plain.empty:
            continue
        masked, unmasked = (rows.query("difficulty == 'high' and method == 'neggrad' and pretrain == 'sgd'")
                            for rows in (masks, plain))  # fmt: skip
        means: Table = masked[masked["rule"] == MINMAX].groupby("mask_fraction", as_index=False)["tow"].mean()
        tables.append(means.assign(plain=unmasked.loc[unmasked["rule"] == PLAIN, "tow"].mean()))
    return [table for table in tables if len(table)]


def best_cutoff(studies: Studies) -> list[str]:
    """Return sentences on the mask's cutoff: ToW at the best one tried, and whether that is the smallest or largest."""
    tried = [row for table in cutoffs_tried(studies) for row in table.to_dict("records")]
    if not tried:
        return []
    best = max(tried, key=lambda row: row["tow"])
    cutoff, cutoffs = best["mask_fraction"], [row["mask_fraction"] for row in tried]
    said = ["Sharp MinMax marks a share of the weights for forgetting: its mask cutoff.",
            f"The best cutoff tried, {cutoff:g}, reaches {best['tow']:.3f} ToW on the hardest images; ASAM reaches "
            f"{best['plain']:.3f}."]  # fmt: skip
    end = {min(cutoffs): "smaller", max(cutoffs): "larger"}
    return said + ([f"No {end[cutoff]} cutoff was tried on them; it may do better."] if cutoff in end else [])


def sgd_forgets_more_with_lower_tow(studies: Studies) -> Found:
    """Judge 3 in one setting named beforehand, NegGrad after SGD on the hardest images: both numbers must be lower."""
    runs = main_runs(studies)
    runs = runs[(runs["setting"] == "NegGrad after SGD") & (runs["forget_set"] == "high")] if len(runs) else runs
    if runs.empty:
        return Found()
    names = {"tow": "ToW", "forget_accuracy": "forget accuracy"}
    say = Template("SGD has a {part} {size} lower", "SGD has a {part} {size} higher", "share", names, names, None,
                   place="By {part}")  # fmt: skip
    effects: Table = pd.concat([rule_effects(runs, name, SAM).assign(forget_set=name) for name in names])
    judged = answer(voting(effects), margin=None, forget_sets=list(names), alike=False)
    words = {*judged.words.values()}
    word = OPPOSITE if OPPOSITE in words else OPEN if OPEN in words else YES
    said = [f"{names[name]} {abs(part.value):.3f} {'lower' if part.value > 0 else 'higher'}"
            for name, part in judged.parts.items()]  # fmt: skip
    told = found(judged, effects, say, word=word, runs=list(runs["run_id"]))
    less = judged.words.get("forget_accuracy") == OPPOSITE
    return replace(told, short=f"SGD's {' and '.join(said)}{': it forgets less' if less else ''}",
                   sentences=(*told.sentences, *(["So it forgets less."] if less else [])))  # fmt: skip


def sgd_collapses_first(studies: Studies) -> Found:
    """Judge 4: the alpha at which ToW falls below one half, by rule and seed, at the rates chosen at alpha 0.9.

    A curve that mixes two sets of weights of one original model has no vote.
    """
    runs = main_runs(studies, SWEEP)
    if runs.empty:
        return Found()
    rows = []
    for (after, rule, seed), curve in runs.groupby(["setting", "rule", "seed"]):
        curve = curve.sort_values("alpha")
        rows.append({"setting": after, "rule": rule, "seed": seed, "block": str(seed),
                     "seconds": curve["seconds"].sum() + curve["shared_seconds"].mean() / runs["rule"].nunique(),
                     "alpha": collapse_alpha(curve["alpha"].to_numpy(float), curve["tow"].to_numpy(float)),
                     "no_vote": "two sets of weights" if curve["original"].nunique() > 1 else ""})  # fmt: skip
    table: Table = pd.DataFrame(rows).dropna(subset=["alpha"])
    pairs = [("sgd", "sam-0.1"), ("sgd", "asam-1.0"), ("sam-0.1", "asam-1.0")]
    names = {f"{a} {b}": f"{rule_label(a).split()[0]} before {rule_label(b).split()[0]}" for a, b in pairs}
    keys = ["setting", "seed", "block", "no_vote"]
    effects: Table = pd.concat(
        table[table["rule"] == a].merge(table[table["rule"] == b], on=keys, suffixes=("", "_b"))
        .assign(value=lambda both: both["alpha"] - both["alpha_b"], contrast=b, forget_set=f"{a} {b}",
                seconds=lambda both: both["seconds"] + both["seconds_b"])
        for a, b in pairs
    )  # fmt: skip
    say = Template("{part}: it collapses at an alpha {size} larger", "{part}: the order is reversed, by {size}",
                   "alpha", names, names, None, place="For {part}")  # fmt: skip
    judged = answer(effects[effects["no_vote"] == ""], margin=None, forget_sets=list(names), alike=False)
    silenced: Table = effects[effects["no_vote"] != ""].groupby("forget_set", sort=False)["value"].mean()
    told = ", ".join(f"{names[str(name)]} {value:+.3f}" for name, value in silenced.items())
    beyond = [f"Curves that mix two sets of weights have no vote. Their mean effects are: {told}."] if told else []
    return found(judged, effects, say, beyond=[*beyond, "The rate was chosen at alpha 0.9, not at each alpha."],
                 runs=list(runs["run_id"]))  # fmt: skip


def collapse_alpha(alphas: np.ndarray, tow: np.ndarray) -> float:
    """Return the alpha at which ToW falls below `LEVEL` for good, interpolated between two; NaN where it does not.

    Args:
        alphas: ascending, `(n,)`; tow: ToW at each alpha, `(n,)`.
    """
    below = np.flatnonzero(tow < LEVEL)
    if not len(below) or below[-1] == len(tow) - 1:
        return float("nan")
    last = below[-1]
    return float(np.interp(LEVEL, tow[last : last + 2], alphas[last : last + 2]))


def sam_resists_attacks(studies: Studies) -> Found:
    """Judge 5a: how far the loss attack's AUC is from its value on the retrained model, SAM minus SGD."""
    runs = main_runs(studies)
    if not {"attack_loss_auc", "retrained_attack_loss_auc", "mia_correctness"} <= set(runs):
        return Found()
    runs = runs.assign(away=(runs["attack_loss_auc"] - runs["retrained_attack_loss_auc"]).abs())
    say = Template("for {part} SAM and ASAM bring the attack's AUC {size} nearer to the retrained model's",
                   "for {part} SAM and ASAM take the attack's AUC {size} farther from the retrained model's", "AUC",
                   margin=None, sign=-1)  # fmt: skip
    known = runs.dropna(subset=["mia_correctness"])
    same = np.isclose(known["mia_correctness"], 1 - known["forget_accuracy"], atol=1e-9)
    bit = f"The paper's number, MIA correctness, equals 1 - forget accuracy in {same.sum()} of {len(same)} runs."
    return compared(runs, "away", say, beyond=[bit, "A lower value only says that SAM forgets less."])


ENTANGLEMENT = {
    "entanglement_wp": "E_Wp", "entanglement_wp_class": "E_Wp within classes",
    "entanglement_var_scaled": "E_Var", "entanglement_var_class_scaled": "E_Var within classes",
}  # fmt: skip
CLASSWISE = {name: f"class-wise {text.partition(' ')[0]}" if "class" in name else text
             for name, text in ENTANGLEMENT.items()}  # fmt: skip


def sam_lowers_entanglement(studies: Studies) -> Found:
    """Judge 5b by both of the paper's measures, over all images and within classes."""
    runs = main_runs(studies)
    measures = [name for name in ENTANGLEMENT if name in runs]
    if not measures:
        return Found()
    say = Template("by {part} entanglement is {size} lower with SAM and ASAM",
                   "by {part} entanglement is {size} higher with SAM and ASAM", "E", ENTANGLEMENT,
                   CLASSWISE, None, -1, "By {part}")  # fmt: skip
    effects: Table = pd.concat([rule_effects(runs, name, SAM).assign(forget_set=name) for name in measures])
    judged = answer(voting(effects), margin=None, sign=-1, forget_sets=measures, alike=False)
    return found(judged, effects, say, runs=list(runs.dropna(subset=measures)["run_id"]))


def _flatness(runs: Table, model: str) -> Table:
    """Return two measures of flatness (larger is flatter): mean basin ratio, and minus the top Hessian eigenvalue."""
    rows = runs.dropna(subset=[f"{model}{name}" for name in BASINS])
    basin = rows.assign(value=rows[[f"{model}{name}" for name in BASINS]].mean(axis=1), measure="basin")
    rows = runs.dropna(subset=[f"{model}hessian_top"])
    return pd.concat([basin, rows.assign(value=-rows[f"{model}hessian_top"], measure="hessian")])


FLATNESS = [f"{model}{name}" for model in ("", "original_", "retrained_") for name in (*BASINS, "hessian_top")]
MEASURES = {"basin": "the basin ratio", "hessian": "the Hessian's top eigenvalue"}
MEASURED = {f"{model}{key}": f"{text} of {model.rstrip('_')} models"
            for model in ("original_", "retrained_") for key, text in MEASURES.items()}  # fmt: skip
BRIEFLY = {"basin": "basin", "hessian": "Hessian", "original_basin": "basin", "original_hessian": "Hessian",
           "retrained_basin": "retrained basin", "retrained_hessian": "retrained Hessian"}  # fmt: skip


def sam_models_are_flatter(studies: Studies) -> Found:
    """Judge 6a: flatness after ASAM pretraining minus after SGD, of original models and of retrained ones."""
    runs = main_runs(studies)
    if not set(FLATNESS) <= set(runs):
        return Found()
    say = Template("by {part} ASAM is flatter by {size}", "by {part} ASAM is sharper by {size}", "flatness", MEASURED,
                   BRIEFLY, None, place="By {part}")  # fmt: skip
    parts: dict[str, Pooled] = {}
    for model in ("original_", "retrained_"):
        rows = _flatness(runs[runs["method"] == "neggrad"], model).drop_duplicates(["measure", "pretrain", "seed"])
        for key in MEASURES:
            mine = rows[rows["measure"] == key]
            mine = mine.assign(setting="ASAM against SGD", seconds=mine["shared_seconds"])
            parts |= _unpaired(mine, f"{model}{key}")
    train = runs.drop_duplicates("original").groupby("pretrain")["original_retain_accuracy"].mean()
    told = listed([f"{accuracy:.3f} by {rule_label(rule)}" for rule, accuracy in train.items()])
    beyond = [f"The originals do not fit equally well: training accuracy is {told}.",
              "No record compares them at equal training loss."]  # fmt: skip
    known = runs.dropna(subset=BASINS)
    return found(
        answer_of(parts, margin=say.margin, sign=say.sign), NO_ROWS, say, beyond=beyond, runs=list(known["run_id"])
    )


def sgd_models_get_flatter(studies: Studies) -> Found:
    """Judge 6b: flatness after NegGrad by SGD minus before, of the same model."""
    runs = main_runs(studies)
    if not set(FLATNESS) <= set(runs):
        return Found()
    plain = runs[(runs["setting"] == "NegGrad after SGD") & (runs["rule"] == "sgd")].dropna(subset=BASINS)
    plain = with_pretraining(plain)
    say = Template("by {part} models are {size} flatter after unlearning", "by {part} models are {size} sharper "
                   "after unlearning", "flatness", MEASURES,
                   BRIEFLY, None, place="By {part}")  # fmt: skip
    after, before = _flatness(plain, ""), _flatness(plain, "original_")
    keys = ["measure", "setting", "seed"]
    both = after[[*keys, "value", "seconds"]].merge(before[[*keys, "value"]], on=keys, suffixes=("", "_before"))
    effects = both.assign(value=both["value"] - both["value_before"], forget_set=both["measure"], contrast="sgd",
                          block=both["seed"].astype(str))  # fmt: skip
    judged = answer(effects, margin=None, forget_sets=list(MEASURES), alike=False)
    # Two measures of opposite signs give no answer, even if one of them is decided.
    apart = judged.word == OPPOSITE and any(part.value > 0 for part in judged.parts.values())
    return found(judged, effects, say, word=OPEN if apart else "", runs=list(plain["run_id"]))


ABSTRACT, NOTES = "abstract, as public reviews and notes give it", "public reading notes"
CLAIMS = [
    Claim("1a", "1a", "SAM as unlearning rule", "SAM improves every unlearning method", ABSTRACT,
          "ToW is higher with SAM or ASAM than with SGD, on each forget set.",
          (MAIN, COMPUTE, *RATES, *RANDOM), sam_unlearns_better),
    Claim("1b", "1b", "SAM as pretraining rule", "Pretraining by SAM improves unlearning", ABSTRACT,
          "ToW of NegGrad is higher after ASAM than after SGD, against all retrained models.",
          (MAIN, *RANDOM), sam_pretrains_better),
    Claim("2", "2", "Sharp MinMax", "Overfitting helps: Sharp MinMax is best", ABSTRACT,
          "ToW is higher with Sharp MinMax than with its own rule without a mask.",
          (MAIN, MASK, *RANDOM, *VARIANTS), overfitting_helps),
    Claim("3", "3", "Forgetting more with lower ToW", "SGD can forget more with lower ToW", NOTES,
          "SGD's ToW and forget accuracy are both lower, in a setting named beforehand: NegGrad on the hardest images.",
          (MAIN,), sgd_forgets_more_with_lower_tow),
    Claim("4", "4", "Collapse as alpha shrinks", "As alpha shrinks SGD collapses first, ASAM last", NOTES,
          "The alpha where ToW falls below 0.5 is larger for the rule that collapses first.",
          (SWEEP,), sgd_collapses_first),
    Claim("5a", "5a", "Membership attacks", "SAM resists membership attacks better", ABSTRACT,
          "The loss attack's AUC is nearer to its value on the retrained model.",
          (MAIN,), sam_resists_attacks),
    Claim("5b", "5b", "Feature entanglement", "SAM lowers feature entanglement", ABSTRACT,
          "Both of the paper's measures must be lower, over all images and within classes.",
          (MAIN,), sam_lowers_entanglement),
    Claim("6a", "6a", "Flatness by SAM", "Models pretrained by SAM are flatter", ABSTRACT,
          "The basin ratio is larger and the Hessian smaller, on original and on retrained models.",
          (MAIN,), sam_models_are_flatter),
    Claim("6b", "6b", "Flatness after unlearning", "SGD models get flatter by unlearning", NOTES,
          "Flatness of the same model is higher after NegGrad by SGD than before.",
          (MAIN,), sgd_models_get_flatter),
]  # fmt: skip
