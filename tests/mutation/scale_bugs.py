"""Bugs of what is large: ImageNet, many processes in one training, plans, and what is read from disk."""

IMPORTS, SALIENCY = "empirical/runs/imports.py", "empirical/training/saliency.py"
IMAGES, FOLDERS = "empirical/data/images.py", "empirical/data/folders.py"
PLAN, COST, IN_PLAN = "empirical/studies/plan.py", "empirical/studies/cost.py", "tests/empirical/test_plan.py"
OUTPUTS, IN_OUTPUTS = "empirical/metrics/outputs.py", "tests/empirical/test_outputs.py"
LOOP, STEP = "empirical/training/loop.py", "empirical/training/step.py"
TOGETHER = "empirical/training/together.py"
CHECKPOINT, CONFIG = "empirical/training/checkpoint.py", "empirical/settings/run_config.py"
IN_TOGETHER = "tests/empirical/test_together.py -m 'not slow'"
STREAM, BATCHES, AUGMENT = (
    "empirical/data/stream.py",
    "empirical/training/batches.py",
    "empirical/augmentation/augment.py",
)
IN_STREAM = "tests/empirical/test_stream.py"
IN_IMAGENET = "tests/empirical/test_imagenet.py -m 'not slow'"

BUGS = [
    ("repro/commands/cli.py", 'words[:2] != ["empirical", "run"]', "not words", "tests/repro/test_cli.py -k torchrun"),
    (
        "repro/base/settings.py",
        "_right_again(cls, name, type(value), value) if scalar",
        "_right_again(cls, name, str, value) if scalar",
        "tests/repro/test_fields.py",
    ),
    (OUTPUTS, "        return getattr(self[:], name)\n", "        return getattr(self.held, name)\n", IN_OUTPUTS),
    # scores by name
    (IMPORTS, "Published(self.scores[found], self.labels[found], list(wanted))", "self", IN_IMAGENET),
    (IMPORTS, "        if (found < 0).any():\n", "        if False:\n", IN_IMAGENET),
    (
        IMPORTS,
        "if rows.setdefault(_short(one, folders), row) != row:",
        "if rows.setdefault(_short(one, folders), row) is None:",
        IN_IMAGENET,
    ),
    (IMPORTS, 'stem = base.rpartition(".")[0] or base', "stem = base", IN_IMAGENET),
    (IMPORTS, "if len(np.unique(found)) < len(found):", "if False:", IN_IMAGENET),
    (IMPORTS, 'one.decode("utf-8", "replace") if isinstance(one, bytes) else one', "str(one)", IN_IMAGENET),
    # answers to large sets
    (
        OUTPUTS,
        "intersect1d(rows, self.rows, assume_unique=True",
        "intersect1d(self.rows, rows, assume_unique=True",
        IN_OUTPUTS,
    ),
    (
        OUTPUTS,
        "return Logits(self.held, rows if self.rows is None else self.rows[rows])",
        "return Logits(self.held, rows)",
        IN_OUTPUTS,
    ),
    (OUTPUTS, "return rows[low:high] - start", "return rows[low:high] - low", IN_OUTPUTS),
    (
        OUTPUTS,
        "generator.permutation(split.forget)[: MOST_FEATURES // 2]",
        "generator.permutation(split.forget)[:1]",
        IN_OUTPUTS,
    ),
    (OUTPUTS, "range(0, max(1, len(arrays[0])), CHUNK)", "range(0, len(arrays[0]) - 1, CHUNK)", IN_OUTPUTS),
    (OUTPUTS, "        start += len(chunk)\n", "        start += BATCH - 1\n", IN_OUTPUTS),
    (OUTPUTS, "self.rows[index]].astype(float)", "self.rows[index]]", IN_OUTPUTS),
    (OUTPUTS, "np.isfinite(part).all(1)", "np.isfinite(part).any(1)", IN_OUTPUTS),
    (OUTPUTS, "<= IN_MEMORY else", "<= 2**60 else", IN_OUTPUTS),
    ("empirical/metrics/entanglement.py", "(sides[0][0].labels(sides[0][1]), sides", "(sides[0][1], sides", IN_OUTPUTS),
    (
        "empirical/metrics/evaluation.py",
        "picked(self.images.test_images, rows)",
        "self.images.test_images[rows]",
        IN_OUTPUTS,
    ),
    (
        IMAGES,
        'return images.pick(rows) if hasattr(images, "pick") else images[rows]',
        "return images[rows]",
        IN_OUTPUTS,
    ),
    # images read from disk
    (STREAM, "part if draws[2] < 0.5 else part.flip(2)", "part", IN_STREAM),
    (
        STREAM,
        "transforms.resized_crop(whole, top, left, height, width,",
        "transforms.resized_crop(whole, left, top, height, width,",
        IN_STREAM,
    ),
    (STREAM, "room = max(0, free // batch_bytes - 1)", "room = max(0, free // batch_bytes)", IN_STREAM),
    (STREAM, '"persistent_workers": True', '"persistent_workers": False', IN_STREAM),
    (STREAM, "generator=torch.Generator(), **more", "**more", IN_STREAM),
    (TOGETHER, 'if ":" in device:', "if False:", IN_TOGETHER),
    (TOGETHER, "timeout=EXCHANGE", "timeout=PATIENCE", IN_TOGETHER),
    (TOGETHER, "group=self.patient", "group=None", IN_TOGETHER),
    ("empirical/training/loop.py", "len(rows) % full or full if place == 0 else full", "full", IN_TOGETHER),
    (STREAM, "            return str(error)\n", "            raise\n", IN_STREAM),
    (STREAM, "            if isinstance(found, str):\n", "            if False:\n", IN_STREAM),
    (STREAM, "replace(self, names=tuple(self.names[row] for row in rows.tolist()))", "self", IN_OUTPUTS),
    (BATCHES, "if orders is not self._orders or number != self._next:", "if orders is not self._orders:", IN_STREAM),
    (BATCHES, "        self._next = number + 1\n", "        self._next = number\n", IN_STREAM),
    (BATCHES, "index[cut][own], None if draws", "index[cut], None if draws", IN_STREAM),
    (
        BATCHES,
        "for number in range(start, -(-len(lead.index) // lead.batch_size)):",
        "for number in range(-(-len(lead.index) // lead.batch_size)):",
        IN_STREAM,
    ),
    (AUGMENT, "(height - tall) * draws[:, 0]", "height * draws[:, 0]", IN_STREAM),
    (AUGMENT, "(area / ratio).sqrt()", "(area * ratio).sqrt()", IN_STREAM),
    (AUGMENT, "torch.where(draws[:, 2, None] < 0.5, steps, 1 - steps) * wide", "steps * wide", IN_STREAM),
    (AUGMENT, "resized=True) if self.resized else self", "resized=True) if False else self", IN_STREAM),
    (
        STEP,
        'stage.augment.after_reading() if hasattr(stage.images, "ahead") else stage.augment',
        "stage.augment",
        IN_STREAM,
    ),
    (LOOP, "held = None if read else images", "held = images", IN_STREAM),
    (FOLDERS, "round(chosen.size * chosen.margin)", "chosen.size", IN_STREAM),
    (
        "empirical/models/network.py",
        "images.to(self.dtype, copy=True,",
        "images.to(self.dtype,",
        "tests/empirical/test_data.py",
    ),
    # processes that train one network together
    (
        STEP,
        "return share * method.loss(part, self.batch, logits) if share",
        "return method.loss(part, self.batch, logits) if share",
        IN_TOGETHER,
    ),
    (STEP, "        self.stage.group.sum_(total)\n", "", IN_TOGETHER),
    (STEP, "        self.stage.group.sum_([loss])\n", "", IN_TOGETHER),
    (LOOP, "        self.step.stage.group.sum_([counted])\n", "", IN_TOGETHER),
    (STEP, "with self.stage.group.merged_statistics(self.network.model):", "if True:", IN_TOGETHER),
    (STEP, 'if self.stage.recipe.perturbation == "global":', "if True:", IN_TOGETHER),
    (STEP, 'if part == "all" and len(set(self.shares.values())) > 1:', "if False:", IN_TOGETHER),
    (
        LOOP,
        "group.tell(pauses.kept.latest) if pauses",
        "pauses.kept.latest() if pauses and self.step.stage.group.first",
        IN_TOGETHER,
    ),
    (LOOP, 'if network.device.type != "cuda":', "if False:", IN_TOGETHER),
    (TOGETHER, "keep ** later[self.rank] * own", "own", IN_TOGETHER),
    (TOGETHER, "return range(self.rank * own, (self.rank + 1) * own)", "return range(own)", IN_TOGETHER),
    (TOGETHER, "if count % self.size:", "if False:", IN_TOGETHER),
    (
        CHECKPOINT,
        "told = group.most(-1 if heard is None else heard)",
        "told = -1 if heard is None else heard",
        IN_TOGETHER,
    ),
    (CHECKPOINT, "        if group.first:\n", "        if True:\n", IN_TOGETHER),
    (CONFIG, "warmup_lr, 0.0,\n            self.batch_parts,", "warmup_lr, 0.0,\n            1,", IN_TOGETHER),
    # plans
    (PLAN, "cell.landscape_points**2 * 2 *", "cell.landscape_points * 2 *", IN_PLAN),
    (PLAN, "(*against, *shared, trained))", "(*shared, trained))", IN_PLAN),
    (PLAN, "(*shared, *first), weights)", "(*shared,), weights)", IN_PLAN),
    (COST, '(one[1].device != "cpu", one[0])', '(one[1].device == "cpu", one[0])', IN_PLAN),
    (COST, "rate.per_second * known / work", "rate.per_second * work / known", IN_PLAN),
    (COST, "(OSError, ValueError, KeyError, TypeError, AttributeError)", "(OSError)", f"{IN_PLAN} -k cannot_be_read"),
    (COST, "folders[:: max(1, len(folders) // LOOKED_AT)]", "folders", IN_PLAN),
    (COST, "tail[need] = max(tail[need], hours[need] + tail[name])", "tail[need] = hours[need]", IN_PLAN),
    (COST, "while ready and len(busy) < tasks:", "while ready:", IN_PLAN),
    (
        PLAN,
        "finished.look(KIND, cell)) for cell in cells",
        "finished.find(KIND, cell)) for cell in cells",
        "tests/empirical/test_grid.py -k lacks",
    ),
    (PLAN, "if record and _stands(record, cell)]", "if record]", "tests/empirical/test_grid.py -k lacks"),
    (COST, 'if rule == "sgd" and row', "if row", IN_PLAN),
    (COST, '(2 if config.method == "neggrad" else 1)', "1", IN_PLAN),
    (
        "empirical/registry.py",
        "area = (edge / known_edge) ** 2 if edge else 1.0",
        "area = edge / known_edge if edge else 1.0",
        IN_PLAN,
    ),
    (FOLDERS, "names += found", "names = found + names", "tests/empirical/test_data.py"),
    (COST, '"fp32": 4, "fp64": 8}', '"fp32": 4, "fp64": 4}', f"{IN_PLAN} -k largest_batch"),
    (COST, '"retain-sam": 7.0}', '"retain-sam": 6.0}', f"{IN_PLAN} -k copies_of"),
    (PLAN, "(cell.forget_batch_size or cell.batch_size) / cell", "cell.batch_size / cell", f"{IN_PLAN} -k beside_each"),
    (PLAN, "model_weights(cell.model) if kept else 0", "model_weights(cell.model)", f"{IN_PLAN} -k beside_each"),
]
