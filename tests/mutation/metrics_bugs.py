"""One-line bugs in metrics, models and gradient rules, each with the test file that must notice it."""

CLOSENESS = "empirical/metrics/closeness.py"
ATTACKS = "empirical/metrics/attacks.py"
ENTANGLEMENT = "empirical/metrics/entanglement.py"
IMAGES = "empirical/metrics/images.py"
LANDSCAPE = "empirical/metrics/landscape.py"
HESSIAN = "empirical/metrics/hessian.py"
RELEARNING = "empirical/metrics/relearning.py"
LIRA = "empirical/metrics/lira.py"
EVALUATION = "empirical/metrics/evaluation.py"
NETWORK = "empirical/models/network.py"
RESNET = "empirical/models/resnet.py"
OTHERS = "empirical/models/others.py"
RULES = "empirical/training/rules.py"
TEST_METRICS = "tests/empirical/test_metrics.py"
TEST_LIRA = "tests/empirical/test_lira.py"
TEST_MODELS = "tests/empirical/test_models.py"
TEST_RULES = "tests/empirical/test_rules.py"
TEST_FIDELITY = "tests/empirical/test_fidelity.py"
IN_MEMORY = "tests/empirical/test_in_memory.py"
COEFFICIENTS = "empirical/metrics/coefficients.py"

# (file, text found exactly once, what replaces it, tests that must fail)
BUGS = [
    # ZRF inverted
    (CLOSENESS, "return float(1 - jensen_shannon(", "return float(jensen_shannon(", TEST_METRICS),
    # ToW without its absolute value
    (CLOSENESS, "if signed else abs(gap[name])", "if signed else gap[name]", TEST_METRICS),
    # ToW against the original instead of the retrained model
    (CLOSENESS, '"tow": tow(own, retrained)', '"tow": tow(own, original)', TEST_METRICS),
    # the average gap signed
    (CLOSENESS, "gap = {name: abs(result[", "gap = {name: (result[", TEST_METRICS),
    # the JSD is taken of a model with itself
    (CLOSENESS, "for r in (role, \"retrained\"))", "for r in (role, role))", TEST_METRICS),
    # doing nothing without its signs
    (CLOSENESS, '"original_tow_signed": tow(original, retrained, signed=True)',
     '"original_tow_signed": tow(original, retrained)', f"{TEST_METRICS} -k doing_nothing"),
    # weights in lengths of their own
    (CLOSENESS, "torch.linalg.vector_norm(other.detach())", "torch.linalg.vector_norm(own.detach())",
     f"{TEST_METRICS} -k distance_of_weights"),
    # D17 on clean images although the run is corrupted
    (CLOSENESS, "images = evaluation.trained_on[", "images = evaluation.images.train_images[",
     f"{TEST_FIDELITY} -k d17_validation_images_of"),
    # the original's answers on corrupted images for every model
    (CLOSENESS, "predict(evaluation.networks[role](), evaluation.trained_on)",
     'predict(evaluation.networks["original"](), evaluation.trained_on)', f"{TEST_FIDELITY} -k d18_every_model"),
    # published accuracies stay percent
    (CLOSENESS, "(v / 100 for v in found)", "(v for v in found)", TEST_FIDELITY),
    # the share called members
    (ATTACKS, "return float(1 - machine.predict(target).mean())", "return float(machine.predict(target).mean())",
     TEST_METRICS),
    # members and non-members exchanged
    (ATTACKS, "return mannwhitneyu(members, others,", "return mannwhitneyu(others, members,", TEST_METRICS),
    # high losses look like members
    (ATTACKS, "(-losses(logits, labels), confidence", "(losses(logits, labels), confidence", TEST_METRICS),
    # the released modified entropy with log(1 - p) for absent classes
    (ATTACKS, "np.log(np.where(p > 0, p, TINY))", "np.log(np.where(weights == p, 1 - p, p))", TEST_METRICS),
    # the hit rate of a threshold that exceeds the false-alarm rate
    (ATTACKS, 'side="right") - 1]', 'side="right")]', TEST_METRICS),
    # a 68 % interval of the AUC
    (ATTACKS, "np.quantile(areas, (0.025, 0.975))", "np.quantile(areas, (0.16, 0.84))",
     f"{TEST_METRICS} -k interval_of_an_auc"),
    # the size 0 is the default size
    (ATTACKS, "evaluation.config.attack_size or len(test)", "evaluation.config.attack_size or 1000",
     f"{TEST_METRICS} -k svc_attack_learns"),
    # the first rows whatever D10 says
    (ATTACKS, 'first = evaluation.config.fidelity.mia_members == "first"', "first = True", TEST_FIDELITY),
    # the same images, and the same start, under every seed
    (ATTACKS, "    generator = np.random.default_rng(evaluation.seed)\n    members, others",
     "    generator = np.random.default_rng(0)\n    members, others", f"{TEST_METRICS} -k svc_attack_learns"),
    (ENTANGLEMENT, "np.random.default_rng(evaluation.seed)", "np.random.default_rng(0)",
     f"{TEST_METRICS} -k entanglement_of_many"),
    (HESSIAN, 'derive_seed(evaluation.seed, "hessian")', 'derive_seed(0, "hessian")',
     f"{TEST_METRICS} -k start_elsewhere"),
    # the spread around the common mean: entanglement of separate clouds looks high
    (ENTANGLEMENT, "apart = 0.5 * sum(((mean - middle) ** 2).sum()", "apart = 0.5 * sum(((mean - mean) ** 2).sum()",
     TEST_METRICS),
    # features are not brought to unit length
    (ENTANGLEMENT, "return features / np.where(lengths > 0, lengths, 1)", "return features", TEST_METRICS),
    # overlap turned into distance
    (ENTANGLEMENT, "max(0.0, 1 - transport_cost(cost / unit))", "max(0.0, transport_cost(cost / unit))", TEST_METRICS),
    # classes with one image are pooled by default too
    (ENTANGLEMENT, "least=1) if released else by_class", "least=1)", TEST_FIDELITY),
    # a number of the original under the name of another model
    (LANDSCAPE, "    network = evaluation.networks[role]()\n", '    network = evaluation.networks["original"]()\n',
     IN_MEMORY),
    (HESSIAN, "evaluation.networks[role]().copy()", 'evaluation.networks["original"]().copy()', IN_MEMORY),
    (IMAGES, "evaluation.on(role, name)[0].features", 'evaluation.on("original", name)[0].features', IN_MEMORY),
    (RELEARNING, "relearn(evaluation, evaluation.networks[role]())",
     'relearn(evaluation, evaluation.networks["original"]())', IN_MEMORY),
    (COEFFICIENTS, "learned(evaluation.networks[role]())", 'learned(evaluation.networks["original"]())', TEST_METRICS),
    # the landscape of the test set is that of the forget set again
    (LANDSCAPE, 'yield "test", images.test_images[test], images.test_labels[test]',
     'yield "test", images.train_images[forget], images.train_labels[forget]', IN_MEMORY),
    # relearning at the rate of pretraining; relearning that normalizes by what was seen before
    (RELEARNING, "lr=RATE * config.pretrain_lr", "lr=config.pretrain_lr", IN_MEMORY),
    (RELEARNING, "copied.model.train()", "copied.model.eval()", IN_MEMORY),
    # the margin to the true class itself
    (IMAGES, "others[rows, labels] = -np.inf", "others[rows, labels] += 0", TEST_METRICS),
    # margins compared image by image
    (IMAGES, "(np.sort(found[f\"margin_{role}\"].astype(float)) for", "(found[f\"margin_{role}\"].astype(float) for",
     f"{TEST_METRICS} -k same_margins"),
    # other images in every run
    (IMAGES, "np.random.default_rng(0).permutation(count)", "np.random.default_rng().permutation(count)", TEST_METRICS),
    # forget features of a different model
    (IMAGES, '[False, True], [len(k)', '[True, False], [len(k)', TEST_METRICS),
    # directions as long as the filters of the model that unlearned
    (LANDSCAPE, 'directions(evaluation.networks["original"]()', 'directions(evaluation.networks["unlearned"]()',
     f"{TEST_METRICS} -k directions_of_all"),
    # the same images of a landscape whatever the seed
    (LANDSCAPE, "np.random.default_rng(evaluation.seed)", "np.random.default_rng(0)",
     f"{TEST_METRICS} -k evaluation_seed"),
    # directions are not scaled to the filters
    (LANDSCAPE, "return direction * (lengths[0] / lengths[1])", "return direction * (lengths[1] / lengths[1])",
     TEST_METRICS),
    # the rise below the centre
    (LANDSCAPE, "float(grid.mean() - centre)", "float(centre - grid.mean())", TEST_METRICS),
    # stability around zero instead of the centre
    (LANDSCAPE, "np.mean(away <= t / 100 * centre)", "np.mean(grid <= t / 100 * centre)", TEST_METRICS),
    # curvature with batch statistics
    (HESSIAN, "network.model.eval()", "network.model.train()", TEST_METRICS),
    # a single power iteration
    (HESSIAN, "STEPS = 20", "STEPS = 1", TEST_METRICS),
    # LiRA: the shadows that saw an image exchanged with those that did not
    (LIRA, "for side in (shadows.inside, ~shadows.inside))", "for side in (~shadows.inside, shadows.inside))", TEST_LIRA),
    # F judged by the test images' means
    (LIRA, "threshold_numbers(standing(forget, *other)", "threshold_numbers(standing(forget, *member)", TEST_LIRA),
    # one mean for all images
    (LIRA, "mean = (answers * chosen).sum(0) / count", "mean = (answers * chosen).sum() / count.sum() + 0 * count",
     TEST_LIRA),
    # what a shadow saw of the first images instead of the forget images
    (LIRA, "inside.append(subset[split.forget])", "inside.append(subset[: len(split.forget)])", TEST_LIRA),
    # the same subset model over and over
    ("empirical/runs/subset_models.py", "yield subset, self.network(number, subset)", "yield subset, self.network(0, subset)",
     TEST_LIRA),
    # weights that are gone are trained without a word
    ("empirical/studies/measure.py", "        if needs_shadows(cell.metrics):", "        if False:", TEST_LIRA),
    # the shadows are no part of the identity
    ("empirical/registry.py", "lira:lira\", settings=SHADOWS,", "lira:lira\",", TEST_LIRA),
    # the plan forgets the shadows
    ("empirical/studies/plan.py", "if needs_shadows(cell.metrics) or (graded", "if (graded", TEST_LIRA),
    # relearning on the forget set
    (RELEARNING, 'Segment({"retain": sets.retain})', 'Segment({"retain": sets.forget})', TEST_METRICS),
    # the excess of the retrained model
    (RELEARNING, 'np.subtract(curves["unlearned"], curves["retrained"])',
     'np.subtract(curves["retrained"], curves["unlearned"])', TEST_METRICS),
    # forget and retain rows exchanged
    (EVALUATION, "rows = getattr(self.split, name)",
     'rows = getattr(self.split, {"retain": "forget"}.get(name, "retain"))', TEST_METRICS),
    # numbers of the unlearned model remembered for the next run
    (EVALUATION, 'if self.shared is None or role == "unlearned":', "if self.shared is None:", TEST_METRICS),
    # evaluation in train mode
    (NETWORK, "network.model.eval()", "network.model.train()", TEST_MODELS),
    # the mode a model had is lost
    (NETWORK, "network.model.train(was_training)", "pass", TEST_MODELS),
    # images are not scaled to [0, 1]
    (NETWORK, "scaled.div_(255)", "scaled.div_(1)", TEST_MODELS),
    # bf16 training stays in fp32
    (NETWORK, 'enabled=self.precision == "bf16"', "enabled=False", TEST_MODELS),
    # statistics move although they are frozen
    (NETWORK, "layer.track_running_stats = False", "layer.track_running_stats = True", TEST_MODELS),
    # a stage does not halve the image
    (RESNET, "1 if place == 0 else 2", "1", TEST_MODELS),
    # max-pooling stays in the CIFAR stem
    (RESNET, "body.maxpool = nn.Identity()", "pass", TEST_MODELS),
    # fan_in instead of fan_out
    (RESNET, 'mode="fan_out"', 'mode="fan_in"', TEST_MODELS),
    # a convolution of small maps takes the taps of the opposite side
    (RESNET, "q // 2 - p // 2 + 1", "p // 2 - q // 2 + 1", TEST_MODELS),
    # no convolution is computed as a product
    (RESNET, "min(inputs, outputs) >= 256", "min(inputs, outputs) >= 512", TEST_MODELS),
    # a map is two pixels wide and three high
    (RESNET, "x.shape[2:] != (2, 2)", "x.shape[3] != 2", TEST_MODELS),
    # neurons are summed instead of averaged
    (OTHERS, "self.neurons).mean(2)", "self.neurons).sum(2)", TEST_MODELS),
    # `asam` builds plain SAM
    (RULES, "return Sam(spec.rho, adaptive=True)", "return Sam(spec.rho)", TEST_RULES),
    # ascent sign
    (RULES, "rho=self.ascent * self.rho", "rho=self.rho", TEST_RULES),
    # MinMax minimizes the sharpness of the forget loss
    (RULES, "replace(forget, sharpness=-1)", "replace(forget, sharpness=1)", TEST_RULES),
    # BatchNorm statistics move in the second pass too
    (RULES, "with shifted(weights, shift), frozen_statistics(model):", "with shifted(weights, shift):", TEST_RULES),
    # weights stay perturbed
    (RULES, "copy_(weights, saved)", "pass", TEST_RULES),
    # both branches own the salient weights
    (RULES, "rest = [~m for m in mask]", "rest = list(mask)", TEST_RULES),
    # SalUn without its mask
    (RULES, 'if getattr(method, "masked", False) else rule', 'if getattr(method, "unmasked", False) else rule',
     TEST_RULES),
    # a mask that leaves norm and perturbation alone
    (RULES, 'self.scope.clip(gradient(model, loss(self.part)), "combined")',
     'self.scope.clip(gradient(model, loss(self.part)), "none")', TEST_RULES),
    # D4 does not reach SalUn
    (RULES, "restrict(rule, mask, fidelity.mask_stage)", "restrict(rule, mask)", TEST_RULES),
    # the two steps of D5 are one
    (RULES, "return (rule.retain, rule.forget)", "return (rule,)", TEST_RULES),
    # a softer machine, and one whose kernel is scaled to the scores' spread
    (ATTACKS, "SVC(C=3,", "SVC(C=1,", f"{TEST_METRICS} -k cost_3"),
    (ATTACKS, 'gamma="auto"', 'gamma="scale"', f"{TEST_METRICS} -k cost_3"),
    # two scores under each other's name
    (ATTACKS, '"confidence", "entropy", "m_entropy"), np', '"confidence", "m_entropy", "entropy"), np',
     f"{TEST_METRICS} -k equal_their_sums"),
    # the hit rate at 1 % under the name of that at 0.1 %
    (ATTACKS, '"tpr_at_01_percent": 0.001', '"tpr_at_01_percent": 0.01', f"{TEST_METRICS} -k blind"),
    # more test images than retained ones
    (ATTACKS, "len(test), len(retain), len(test))", "len(test), len(test))", f"{TEST_METRICS} -k as_many_images"),
    # the score over all images under the name of that by class; a class with one image in E_Wp
    (ENTANGLEMENT, '"var_class_scaled": scaled_ratio(classwise)', '"var_class_scaled": scaled_ratio(ratio)',
     f"{TEST_METRICS} -k one_by_one"),
    (ENTANGLEMENT, '"wp_class": weighted(measure, by_class)', '"wp_class": weighted(measure, pooled)',
     f"{TEST_METRICS} -k one_by_one"),
    # features beside the labels of other images
    (IMAGES, "labels.append(kept[chosen[name]])", "labels.append(kept[: len(chosen[name])])",
     f"{TEST_METRICS} -k many_images_stand"),
    # the steepest place for the mean slope
    (LANDSCAPE, '"slope": float(slopes.mean())', '"slope": float(slopes.max())', f"{TEST_METRICS} -k known_grid"),
    # neurons of the other sign
    (COEFFICIENTS, "kappa[signs > 0].mean()", "kappa[signs < 0].mean()", f"{TEST_METRICS} -k coefficients_are"),
    # the reverse of KLoM is KLoM itself
    ("empirical/metrics/pooled.py", "halves(model, reference), halves(reference, model, w",
     "halves(reference, model), halves(reference, model, w", "tests/empirical/test_pooled.py -k in_reverse"),
    # a process takes another attack's, another plane's and another forget set's numbers of the original for its own
    ("empirical/runs/evaluations.py", "config.attack_size, *plane, estimate)", "*plane, estimate)",
     f"{TEST_METRICS} -k what_runs_share_of_a_model"),
    ("empirical/runs/evaluations.py", "config.attack_size, *plane, estimate)", "config.attack_size, estimate)",
     f"{TEST_METRICS} -k one_plane"),
    ("empirical/runs/evaluations.py", "shared = (*trained, experiment.split.identity,", "shared = (*trained,",
     f"{TEST_METRICS} -k one_plane"),
    # published numbers of a random forget set for every other
    (CLOSENESS, 'config.difficulty == "random"', 'config.difficulty != "random"', f"{TEST_FIDELITY} -k d7_tow"),
]  # fmt: skip
