"""Bugs of training: the loop, batches, graphs, saliency, methods, and the images they are shown."""

LOOP, STEP = "empirical/training/loop.py", "empirical/training/step.py"
GRAPH, BATCHES = "empirical/training/graph.py", "empirical/training/batches.py"
CHECKPOINT, IN_CHECKPOINT = "empirical/training/checkpoint.py", "tests/empirical/test_checkpoint.py"
SALIENCY = "empirical/training/saliency.py"
AWAY, RELABEL, RETAIN = "empirical/methods/forget.py", "empirical/methods/relabel.py", "empirical/methods/retain.py"
AUGMENT, RANDAUGMENT = "empirical/augmentation/augment.py", "empirical/augmentation/randaugment.py"
CORRUPTIONS, BUILTIN = "empirical/augmentation/corruptions.py", "empirical/data/builtin.py"
MEMORIZATION, FORGET = "empirical/data/memorization.py", "empirical/data/forget.py"
IN_SCHEDULE = "tests/empirical/test_schedule.py"
IN_LOOP, IN_EFFECTS = "tests/empirical/test_loop.py", "tests/empirical/test_method_effects.py"
IN_TRAIN, IN_METHODS = "tests/empirical/test_train.py", "tests/empirical/test_methods.py"
IN_GRAPH = "tests/empirical/test_graph.py -m 'not slow'"
IN_AUGMENT, IN_AUGMENTATIONS = "tests/empirical/test_augment.py", "tests/empirical/test_augmentations.py"
IN_FIDELITY, IN_SALIENCY = "tests/empirical/test_fidelity.py -k 'd12 or d24'", "tests/empirical/test_saliency.py"
IN_FORGET, IN_DATA = "tests/empirical/test_forget.py", "tests/empirical/test_data.py"

BUGS = [
    ("empirical/training/loop.py", "                setattr(parent, name, own)\n", "", "tests/empirical/test_together.py -k used_by_one"),
    # the recipe
    (STEP, "momentum=recipe.momentum, **shared", "momentum=0.0, **shared", IN_LOOP),
    (STEP, '"weight_decay": recipe.weight_decay', '"weight_decay": 0.0', IN_LOOP),
    (STEP, 'group["lr"].fill_(lr)', 'group["lr"].fill_(group["lr"])', IN_LOOP),
    (LOOP, "math.cos(math.pi * now / recipe.epochs)", "math.cos(math.pi * epoch / recipe.epochs)", IN_LOOP),
    (LOOP, "if now < recipe.warmup_epochs:", "if now < 0:", IN_LOOP),
    (LOOP, "epoch >= milestone", "epoch > milestone", IN_LOOP),
    (STEP, '"adam": torch.optim.Adam,', '"adam": torch.optim.SGD,', IN_LOOP),
    # the step and the stage
    (STEP, "augmented = self.augment(examples.images, examples.draws)", "augmented = examples.images", IN_LOOP),
    (LOOP, "network.model.train()\n        runner", "network.model.eval()\n        runner", IN_LOOP),
    (LOOP, "        network.model.train()\n        self.seconds", "        self.seconds", IN_LOOP),
    (LOOP, "if not finite(self.step):", "if False:", IN_LOOP),
    (LOOP, "aside = self.watch.seconds + ", "aside = 0 * self.watch.seconds + ", IN_LOOP),
    (LOOP, "aside = self.watch.seconds + self.preparing.seconds", "aside = self.watch.seconds", IN_GRAPH),
    (GRAPH, "with self.preparing.running(self.graphs):", "if True:", IN_GRAPH),
    (STEP, "network.model.eval()", "network.model.train()", IN_EFFECTS),
    (STEP, "return self.teacher.logits(images)", "return self.network.logits(images)", IN_EFFECTS),
    (STEP, "if not self.keep_statistics:", "if self.keep_statistics:", IN_FIDELITY),
    (STEP, "self.evaluated += len(images)", "self.evaluated = len(images)", IN_TRAIN),
    (STEP, "torch.where(movable, weight, old)", "torch.where(movable, weight, weight)", IN_EFFECTS),
    (LOOP, "step.set_rule(stage.later[course.epoch])", "step.set_rule(stage.rule)", IN_SCHEDULE),
    (LOOP, "last <= recipe.stop_loss > 0", "last <= recipe.stop_loss + 1", IN_SCHEDULE),
    (STEP, "self.rules = phases(rule, self.stage.fidelity)", "self.rules = self.rules", IN_SCHEDULE),
    ("empirical/runs/experiment.py", "build_rule(label, RuleContext(list)) for label, _ in legs)",
     "build_rule(legs[0][0], RuleContext(list)) for label, _ in legs)", IN_SCHEDULE),
    ("empirical/settings/run_config.py", "self.pretrain_schedule, 0, 0.0, self.pretrain_stop_loss,",
     "self.pretrain_schedule, 0, 0.0, 0.0,", IN_SCHEDULE),
    ("empirical/settings/rule_labels.py", "    legs = parse_schedule(text, epochs, field)\n",
     "    return parse_schedule(text, epochs, field)\n", IN_SCHEDULE),
    ("empirical/studies/plan.py", "sum(count * cost_of(rule) for rule, count", "sum(count for rule, count", IN_SCHEDULE),
    (LOOP, "step.epoch.fill_(epoch)", "step.epoch.fill_(0)", IN_LOOP),
    (LOOP, 'arranger.generator("labels", epoch)', 'arranger.generator("labels")', IN_EFFECTS),
    (LOOP, 'arranger.arrange(segment, "epoch", epoch, place)', 'arranger.arrange(segment, "epoch", place)', IN_LOOP),
    (LOOP, "or self.log.diverged_at is not None or low_enough", "or low_enough", IN_LOOP),
    (LOOP, "(~torch.isfinite(losses)).nonzero()", "torch.isnan(losses).nonzero()", IN_LOOP),
    (LOOP, "float(losses.mean())", "float(losses[-1])", IN_LOOP),
    (LOOP, "weight.grad = None", "weight.grad = weight.grad", IN_LOOP),
    # a stage cut and gone on from
    (LOOP, "range(len(course.losses) - before, segment.steps)", "range(segment.steps)", IN_CHECKPOINT),
    (LOOP, "        self._started -= said", "        self._started -= 0 * said", IN_CHECKPOINT),
    (LOOP, 'or said["observed"] != (self.watch.observe is not None)', "", IN_CHECKPOINT),
    (LOOP, "all(bool(weight.isfinite().all()) for weight in step.weights)", "True", IN_CHECKPOINT),
    (LOOP, "all(bool(weight.isfinite().all()) for weight in step.weights)", "True", IN_LOOP),
    (CHECKPOINT, "like.copy_(one).detach()", "torch.zeros_like(like)", IN_CHECKPOINT),
    (CHECKPOINT, '    torch.set_rng_state(tensors["generator.cpu"])\n', "", IN_CHECKPOINT),
    (CHECKPOINT, "epochs and epochs % self.epochs == 0", "epochs and epochs % self.epochs == 1", IN_CHECKPOINT),
    (CHECKPOINT, "            raise Stopped(reason)\n", "            return\n", IN_CHECKPOINT),
    # captured steps
    (GRAPH, "return recording.result.clone()", "return recording.result", IN_GRAPH),
    (GRAPH, "WARMUP_STEPS = 3", "WARMUP_STEPS = 0", IN_GRAPH),
    (GRAPH, "[part for parts in inputs.values() for part in parts])", "targets)", IN_GRAPH),
    (GRAPH, "self.counter.evaluated - counted, counted", "self.counter.evaluated - counted, 0", IN_GRAPH),
    (GRAPH, "captured.setdefault(tuple(inputs), Captured())", "captured.setdefault((), Captured())", IN_GRAPH),
    (GRAPH, "self._step(captured.buffers)", "self._step(inputs)", IN_GRAPH),
    # what an epoch reads
    (BATCHES, "first if cached else torch.randperm(", "first if True else torch.randperm(", IN_TRAIN),
    (BATCHES, "len(rows) if place == 0 else steps * min(rows.batch_size, len(rows))", "len(rows)", IN_LOOP),
    (BATCHES, "draws = torch.rand(count if cached else total,", "draws = torch.rand(total,", IN_LOOP),
    (BATCHES, "rows.labels[picked], rows.forget[picked]", "rows.labels, rows.forget[picked]", IN_LOOP),
    (BATCHES, "derive_seed(self.seed, *names)", "derive_seed(0, *names)", IN_TRAIN),
    (BATCHES, "return -(-len(lead) // lead.batch_size)", "return len(lead) // lead.batch_size", IN_TRAIN),
    # saliency
    (SALIENCY, "add_(total, torch.autograd.grad(", "total = list(torch.autograd.grad(", IN_SALIENCY),
    (SALIENCY, "network.model.eval()", "network.model.train()", IN_SALIENCY),
    (SALIENCY, 'descending=polarity == "high"', 'descending=polarity == "low"', IN_SALIENCY),
    (SALIENCY, "[gradient.abs() for gradient in total]", "total", IN_SALIENCY),
    # methods
    (AWAY, "-F.cross_entropy(logits.forget(forget.images)", "F.cross_entropy(logits.forget(forget.images)", IN_EFFECTS),
    (AWAY, "return self.alpha * F.cross_entropy", "return (1 - self.alpha) * F.cross_entropy", IN_EFFECTS),
    (AWAY, "return -(1 - self.alpha)", "return (1 - self.alpha)", IN_EFFECTS),
    (AWAY, '"forget": sets.forget}, self.cached)', '"forget": sets.forget})', IN_EFFECTS),
    (AWAY, "self.gamma * F.cross_entropy(current, retain.labels) + self.beta * distance",
     "self.beta * F.cross_entropy(current, retain.labels) + self.gamma * distance", IN_EFFECTS),
    (AWAY, "return -self.distance(", "return self.distance(", IN_EFFECTS),
    (AWAY, "F.kl_div(ours, theirs,", "F.kl_div(theirs, ours,", IN_METHODS),
    (AWAY, "epoch < self.ascent_epochs", "epoch <= self.ascent_epochs", IN_EFFECTS),
    (AWAY, "[forget, retain] if ascends", "[retain, forget] if ascends", IN_EFFECTS),
    (RELABEL, "if self.relabel:", "if not self.relabel:", IN_EFFECTS),
    (RELABEL, "torch.randint(sets.classes,", "torch.randint(sets.classes - 1,", IN_METHODS),
    (RELABEL, ", generator=generator)", ")", IN_EFFECTS),
    (RELABEL, "masked = True", "masked = False", IN_EFFECTS),
    (RELABEL, 'if part == "forget" else', 'if part == "retain" else', IN_EFFECTS),
    (RELABEL, ".sum() / len(losses)", ".sum() / rows.sum()", IN_METHODS),
    (RETAIN, "(1 - logits.epoch / sparse", "(1 + logits.epoch / sparse", IN_EFFECTS),
    (RETAIN, "+ self.strength * decay * size", "- self.strength * decay * size", IN_EFFECTS),
    (RETAIN, "weight.abs().sum()", "weight.pow(2).sum()", IN_METHODS),
    (RETAIN, '"""Return the cross entropy of the retain batch."""\n        retain = batch["retain"]',
     '"""Return."""\n        retain = batch["retain"]._replace(labels=batch["retain"].labels * 0)', IN_EFFECTS),
    # images as they are shown
    (AUGMENT, "torch.where(draws[:, 2, None] < 0.5, columns, width - 1 - columns)", "columns", IN_AUGMENT),
    (AUGMENT, "(2 * padding + 1)", "(2 * padding)", IN_AUGMENT),
    (AUGMENT, "columns = shift[:, 1, None] + columns", "columns = shift[:, 0, None] + columns", IN_AUGMENT),
    (AUGMENT, "rows[:, :, None] * padded.shape[3]", "rows[:, :, None] * width", IN_AUGMENT),
    (AUGMENT, "+ columns[:, None, :]).flatten(1)", "+ columns[:1, None, :]).flatten(1)", IN_AUGMENT),
    (AUGMENT, "rows = shift[:, 0, None] +", "rows = shift[:1, 0, None] +", IN_AUGMENT),
    (AUGMENT, "F.pad(images, (padding,) * 4)", "F.pad(images, (padding,) * 4, value=1)", IN_AUGMENT),
    (AUGMENT, "draws[:, self.placing :]", "draws[:, :4]", IN_AUGMENT),
    (RANDAUGMENT, "@cache\ndef _constant", "def _constant", IN_GRAPH),
    (RANDAUGMENT, "torch.where(draws[:, place + 1] < 0.5, 1.0, -1.0)", "torch.ones_like(draws[:, place])",
     IN_AUGMENTATIONS),
    (RANDAUGMENT, "angle = strength * (math.pi / 6)", "angle = strength * (math.pi / 3)", IN_AUGMENTATIONS),
    (RANDAUGMENT, "sign * (magnitude / BINS)", "sign * (magnitude / 10)", IN_AUGMENTATIONS),
    (CORRUPTIONS, "GAUSSIAN[level] *", "GAUSSIAN[0] *", IN_AUGMENTATIONS),
    (CORRUPTIONS, "        if swap:", "        if not swap:", IN_FIDELITY),
    (CORRUPTIONS, "return whitened + flakes + flakes[:, :, ::-1, ::-1]", "return whitened", IN_AUGMENTATIONS),
    # what is forgotten
    (MEMORIZATION, "((inside, 1), (~inside, -1))", "((inside, -1), (~inside, 1))", IN_FORGET),
    (MEMORIZATION, "round(config.fraction * count)", "round((1 - config.fraction) * count)", IN_FORGET),
    (MEMORIZATION, 'derive_seed(config.seed, "subsets")', 'derive_seed(0, "subsets")',
     f"{IN_FORGET} -k another_forget_seed"),
    (MEMORIZATION, "generator.permutation(count)[", "np.arange(count)[", IN_FORGET),
    (MEMORIZATION, "(0.25, 0.5, 0.75)", "(0.1, 0.5, 0.9)", f"{IN_FORGET} -k quartiles"),
    (MEMORIZATION, "np.nanmedian(scores), scores", "np.nanmax(scores), scores", IN_FORGET),
    (FORGET, "ranked()[0][: candidates.count]", "ranked()[0][::-1][: candidates.count]", IN_FORGET),
    (FORGET, "ranked()[0][::-1][: candidates.count]", "ranked()[0][: candidates.count]", IN_FORGET),
    (FORGET, "np.abs(scores[between] - 0.5)", "np.abs(scores[between])", IN_FORGET),
    (FORGET, "np.setdiff1d(pool, forget), forget", "pool, forget", IN_FORGET),
    (FORGET, "derive_seed(config.forget_seed,", "derive_seed(config.seed,", IN_FORGET),
    # data without files
    (BUILTIN, "(2 * labels - 1)", "labels", IN_DATA),
    (BUILTIN, "** 0.25", "** 0.5", IN_DATA),
    (BUILTIN, "noise = noise - (noise @ direction)", "noise = noise - 0 * (noise @ direction)", IN_DATA),
    (BUILTIN, 'drawn = 1 if model.noise_patches == "repeated"', 'drawn = 1 if model.noise_patches == "single"', IN_DATA),
    (BUILTIN, "first, place = place, place + images_wanted * drawn", "first, place = 0, images_wanted * drawn", IN_DATA),
    (BUILTIN, 'balanced = model.labels == "balanced"', "balanced = True", IN_DATA),
    ("empirical/models/others.py", "active.sum(1) if", "active.mean(1) if", "tests/empirical/test_models.py"),
    ("empirical/models/others.py", "features @ self.second.T", "2 * features @ self.second.T",
     "tests/empirical/test_models.py"),
    ("empirical/metrics/coefficients.py", "zeta = (patches.shape[1] - 1) *", "zeta =", "tests/empirical/test_metrics.py"),
    ("empirical/metrics/coefficients.py", "signs = np.repeat([-1, 1]", "signs = np.repeat([1, -1]",
     "tests/repro/test_twin.py"),
    ("empirical/runs/evaluations.py", 'networks["initial"] = experiment.initial', 'networks["initial"] = networks["random"]',
     "tests/repro/test_compare.py"),
    (BUILTIN, "np.setdiff1d(np.arange(len(labels)), test)", "np.arange(len(labels))", IN_DATA),
    # a resumed stage forgets which rule of its schedule was under way
    ("empirical/training/loop.py", "if start <= self.epoch]", "if start < 0]",
     "tests/empirical/test_checkpoint.py -k 'rule_of_its_epoch'"),
    # a shear of another size, and one along the other edge
    (RANDAUGMENT, "1.0, 0.3 * strength, 0.0, 1.0)", "1.0, 0.1 * strength, 0.0, 1.0)",
     f"{IN_AUGMENTATIONS} -k three_tenths"),
    (RANDAUGMENT, "1.0, 0.0, 0.3 * strength, 1.0)", "1.0, 0.3 * strength, 0.0, 1.0)",
     f"{IN_AUGMENTATIONS} -k three_tenths"),
    (AUGMENT, '"shift": Augment(padding=1)', '"shift": Augment(padding=2)', f"{IN_AUGMENT} -k draws_alone"),
    # the middle is the highest once more; a part of a class is all of it
    (FORGET, "slice(count, -count) if 3 * count", "slice(None) if 3 * count", f"{IN_FORGET} -k few_images"),
    (FORGET, "candidates.count, len(rows) - 1)", "candidates.count, len(rows))", f"{IN_FORGET} -k part_of_a_class"),
    # the released split is another one, and its forget set a share of all images
    (FORGET, "RELEASED_SPLIT_SEED = 1", "RELEASED_SPLIT_SEED = 2", f"{IN_FORGET} -k released_split"),
    (FORGET, "config.forget_fraction * len(train)", "config.forget_fraction * len(labels)",
     f"{IN_FORGET} -k released_split"),
    # half of the models against themselves
    (MEMORIZATION, "correct[start::2])[0] for start in (0, 1)", "correct[start::2])[0] for start in (0, 0)",
     f"{IN_FORGET} -k rank_agreement"),
]  # fmt: skip
