"""Bugs in what turns configs into records: settings, runs, studies and the store."""

EXPERIMENT, STAGES, SUBSETS = (
    "empirical/runs/experiment.py",
    "empirical/runs/stages.py",
    "empirical/runs/subset_models.py",
)
UNLEARNING = "empirical/runs/unlearning.py"
EVALUATIONS, RUN, WORKSPACE = "empirical/runs/evaluations.py", "empirical/runs/run.py", "empirical/runs/workspace.py"
IMPORTS, CELL, KEYS = "empirical/runs/imports.py", "empirical/runs/cell.py", "empirical/settings/keys.py"
CONFIG, LABELS, SWITCHES = (
    "empirical/settings/run_config.py", "empirical/settings/rule_labels.py", "empirical/settings/switches.py"
)  # fmt: skip
CHOICE, RECIPE, PLAN = "empirical/studies/choice.py", "empirical/studies/recipe.py", "empirical/studies/plan.py"
GRID, FINISHED, MEASURE = "empirical/studies/grid.py", "empirical/studies/finished.py", "empirical/studies/measure.py"
POOL, COMPARE, EXECUTORS = "empirical/studies/pool.py", "empirical/studies/compare.py", "empirical/studies/executors.py"
POOLED, SOURCE, FOLDERS = "empirical/metrics/pooled.py", "empirical/data/source.py", "empirical/data/folders.py"
IDENTITY, STORE, RECORD = "repro/records/identity.py", "repro/records/store.py", "repro/records/record.py"
INDEX = "repro/records/index.py"
FOLDER, DAMAGE, ENDING = (f"repro/records/{name}.py" for name in ("folder", "damage", "ending"))
CHECKPOINTS, IN_EXECUTORS = "repro/records/checkpoint.py", "tests/empirical/test_executors.py -m 'not slow'"
PACK, SETTINGS, IMAGES = "repro/records/pack.py", "repro/base/settings.py", "empirical/data/images.py"
IN_STAGES, IN_KEYS, IN_GRID = (f"tests/empirical/test_{name}.py" for name in ("stages", "keys", "grid"))
IN_FORGET, IN_DATA, IN_CONFIG = (f"tests/empirical/test_{name}.py" for name in ("forget", "data", "config"))
EVALUATION, IN_CHOICE, IN_HALVES = (
    "empirical/metrics/evaluation.py", "tests/empirical/test_choice.py", "tests/empirical/test_halves.py"
)  # fmt: skip
IN_POOLED, IN_FIDELITY = "tests/empirical/test_pooled.py", "tests/empirical/test_fidelity.py"
IN_STORE, IN_IDENTITY, IN_FIELDS = (f"tests/repro/test_{name}.py" for name in ("store", "identity", "fields"))

BUGS = [
    # a run's models
    (EXPERIMENT, "        network.model.load_state_dict(self.original.network.model.state_dict())\n", "", IN_STAGES),
    (
        EXPERIMENT,
        "self._from_scratch(self.retrain_key(), self.split.retain)",
        "self._from_scratch(self.retrain_key(), self.split.train)",
        IN_STAGES,
    ),
    (
        EXPERIMENT,
        "self._from_scratch(pretrain_key(self.config), rows)",
        "self._from_scratch(pretrain_key(self.config), self.split.retain)",
        IN_STAGES,
    ),
    (
        UNLEARNING,
        'seed = derive_seed(config.seed, "unlearn", config.unlearn_seed)',
        'seed = derive_seed(config.seed, "unlearn")',
        IN_STAGES,
    ),
    (UNLEARNING, "settings = config.unlearning()", "settings = config.pretraining()", IN_STAGES),
    (EXPERIMENT, "seed = derive_seed(config.seed, key.stage, *", "seed = derive_seed(0, key.stage, *", IN_STAGES),
    (EXPERIMENT, "*([key.unlearn_seed] if key.unlearn_seed else [])", "*[]", IN_CHOICE),
    (
        EXPERIMENT,
        '{"retain": retain[np.sort(few)], "forget": seen.forget}',
        '{"retain": retain, "forget": retain}',
        IN_STAGES,
    ),
    (RUN, 'seen["rows_measured"] != part', "False", IN_STAGES),
    (RUN, 'found.result.get("rows_measured", "all") == config.rows_measured', "found.result", IN_HALVES),
    (EVALUATION, '"validation": np.sort(by_group[::2])', '"validation": np.sort(by_group)', IN_HALVES),
    (EVALUATION, "replace(self.split, forget=seen.forget)", "self.split", IN_HALVES),
    (EVALUATION, "digest(forget)", "0", IN_HALVES),
    (
        EXPERIMENT,
        "held = workspace.train_images(self.config)",
        "held = self.images.train_images",
        IN_STAGES,
    ),
    (
        UNLEARNING,
        "rows = torch.from_numpy(self.split.forget)",
        "rows = torch.from_numpy(self.split.train)",
        IN_STAGES,
    ),
    (
        UNLEARNING,
        "saliency_mask(gradient, fraction, polarity=polarity)",
        "saliency_mask(gradient, fraction)",
        IN_FIDELITY,
    ),
    (
        UNLEARNING,
        "method_rule(method, build_rule(config.rule, context), context)",
        "build_rule(config.rule, context)",
        IN_STAGES,
    ),
    (STAGES, "        if found is not None:\n", "        if found is None and found:\n", IN_KEYS),
    (STAGES, "        if keep and group.first:\n", "        if group.first:\n", IN_GRID),
    (STAGES, "        torch.manual_seed(seed)\n", "        torch.manual_seed(0)\n", IN_STAGES),
    (STAGES, "config.fidelity.double_normalize and", "not config.fidelity.double_normalize and", IN_FIDELITY),
    (
        SUBSETS,
        "settings, inside = training.pretraining(), np.flatnonzero(subset)",
        "settings, inside = training.pretraining(), np.arange(len(subset))",
        IN_STAGES,
    ),
    (
        SUBSETS,
        "(logits.argmax(1).cpu() == images.train_labels)",
        "(logits.argmin(1).cpu() == images.train_labels)",
        IN_STAGES,
    ),
    (
        SUBSETS,
        'seed = derive_seed(self.config.seed, "subset", number)',
        'seed = derive_seed(0, "subset", number)',
        f"{IN_FORGET} {IN_STAGES}",
    ),
    (EVALUATIONS, "            evaluation.result.update(numbers)\n", "", IN_KEYS),
    (EVALUATIONS, "        numbers |= record.result\n", "", IN_KEYS),
    (
        EVALUATIONS,
        '("outputs", stage.stage_id, experiment.config.n_test, part)',
        '("outputs", stage.stage_id, part)',
        IN_STAGES,
    ),
    (
        EVALUATIONS,
        'experiment.images\n    seed = derive_seed(config.seed, "evaluate", config.unlearn_seed)',
        "experiment.images\n    seed = int(np.random.default_rng().integers(2**31))",
        "tests/empirical/test_contract.py -m 'not slow'",
    ),
    (RUN, 'status="diverged" if diverged else "ok"', 'status="ok"', IN_STAGES),
    (RUN, "evaluations = {} if diverged else measure(experiment)", "evaluations = {}", IN_KEYS),
    (
        RUN,
        "found is not None and complete(found, config)",
        "found is not None",
        IN_KEYS,
    ),
    (WORKSPACE, "return replace(config, data=found, original", "return replace(config, original", IN_KEYS),
    (WORKSPACE, 'if config.data not in ("", found):', 'if config.data == "":', IN_KEYS),
    (
        WORKSPACE,
        'key = ("data", config.dataset, config.dataset_options, config.n_train, config.n_test)',
        'key = ("data", config.dataset, config.dataset_options, config.n_train)',
        IN_STAGES,
    ),
    (IMPORTS, "wrong = np.flatnonzero(labels != expected)", "wrong = np.flatnonzero(labels == -1)", IN_FORGET),
    (IMPORTS, "if len(labels) != len(expected):", "if len(labels) > len(expected):", IN_FORGET),
    (CELL, '"alpha": config.alpha,', '"alpha": 0.9,', IN_STAGES),
    (
        CELL,
        "if not wanted <= set(method.parts):",
        "if wanted > set(method.parts):",
        "tests/empirical/test_contract.py -m 'not slow'",
    ),
    (CELL, 'fidelity.scrub_max_epochs == "plus-one"', 'fidelity.scrub_max_epochs == "exact"', IN_FIDELITY),
    # identities
    (
        KEYS,
        "**{name: getattr(config, name) for name in same}",
        '**({name: getattr(config, name) for name in same} | {"data": ""})',
        IN_KEYS,
    ),
    (KEYS, "corruption=noise, ", 'corruption="none", ', IN_KEYS),
    (KEYS, "rule = rule or config.retrain_rule", "rule = config.retrain_rule", IN_KEYS),
    (KEYS, "hyperparameters=config.unlearning()", "hyperparameters=config.pretraining()", IN_KEYS),
    (KEYS, "switches=_training_switches(config.fidelity), ", "", IN_KEYS),
    (KEYS, "needs = tuple(keys[need].id for need in one.needs)", "needs = one.needs", IN_KEYS),
    (KEYS, "EvaluationKey(name, one.version, stages", "EvaluationKey(name, 1, stages", IN_KEYS),
    (KEYS, '"n_test", "rows_measured")', '"rows_measured")', IN_KEYS),
    (KEYS, '"n_test", "rows_measured")', '"n_test")', IN_HALVES),
    (KEYS, "unlearn_seed=config.unlearn_seed)\n\n\ndef unlearn_key", "unlearn_seed=0)\n\n\ndef unlearn_key", IN_CHOICE),
    (KEYS, "        for need in metric(name).needs:\n            add(need)\n", "", IN_KEYS),
    (KEYS, 'rows = "all" if config.fidelity.forget_split == "shared" else "released-split"', 'rows = "all"', IN_KEYS),
    (
        KEYS,
        '    return told and all(there.get(name, {}).get("id") == key.id for name, key in wanted.items())',
        "    return told and all(name in there for name in wanted)",
        IN_KEYS,
    ),
    (
        CONFIG,
        'return self.pretrain if self.retrain in ("pretrain", "none") else self.retrain',
        "return self.pretrain",
        IN_CONFIG,
    ),
    (CONFIG, "warmup_lr = self.pretrain_lr if", "warmup_lr = self.lr if", IN_FIDELITY),
    (CONFIG, 'names & {"minmax", "retain-sam", "masked"}', 'names & {"minmax"}', IN_CONFIG),
    (
        CONFIG,
        "batch_size=config.pretrain_batch_size, seed=config.forget_seed",
        "batch_size=config.pretrain_batch_size, seed=config.seed",
        IN_STAGES,
    ),
    (LABELS, 'DEFAULT_RADIUS = {"sam": 0.1, "asam": 1.0,', 'DEFAULT_RADIUS = {"sam": 1.0, "asam": 1.0,', IN_CONFIG),
    (LABELS, 'DEFAULT_INNER = {"minmax": "asam-1.0",', 'DEFAULT_INNER = {"minmax": "sam-0.1",', IN_CONFIG),
    (LABELS, "if not 0.0 <= rho < float", "if not -1.0 <= rho < float", IN_CONFIG),
    (SWITCHES, '{**PRESETS[preset], **parse_options(switches, "switches")}', "PRESETS[preset]", IN_FIDELITY),
    # studies
    (CHOICE, "return max(sorted(scores)", "return min(sorted(scores)", IN_GRID),
    (
        CHOICE,
        "return replace(cell, **MEASURING | seeds",
        'return replace(cell, pretrain="sgd", **MEASURING | seeds',
        IN_CHOICE,
    ),
    (CHOICE, '"rows_measured": "validation"}', '"rows_measured": "report"}', IN_CHOICE),
    (CHOICE, "if lowest and not idle and place > 0", "if lowest and place > 0", IN_CHOICE),
    (CHOICE, "self.grid[place + 1 : place + 2] if highest", "self.grid[place + 1 :] if highest", IN_CHOICE),
    (CHOICE, "NOTHING if lowest and idle else EDGE", "EDGE", IN_CHOICE),
    (CHOICE, "if cell.seed == self.seed:", "if cell.seed == -1:", IN_GRID),
    (CHOICE, "-math.inf if tow is None else tow", "0.0 if tow is None else 1.0 - tow", IN_GRID),
    (
        RECIPE,
        "defaults = {**parts[0], **parts[1]}",
        "defaults = {**parts[1], **parts[0]}",
        IN_GRID,
    ),
    (RECIPE, "if all(getattr(cell, name) == value for", "if any(getattr(cell, name) == value for", IN_GRID),
    (
        RECIPE,
        "for settings in _product({**unseen, **self.defaults, **block}):",
        "for settings in _product({**unseen, **block, **self.defaults}):",
        IN_GRID,
    ),
    (PLAN, 'else 1 if spec.name == "sgd" else 2', "else 1", IN_GRID),
    (PLAN, "if key not in seen and not", "if not", IN_GRID),
    (RECIPE, '{"rows_measured": "report"} if self.choose', '{"rows_measured": "all"} if self.choose', IN_CHOICE),
    (GRID, "replace(runtime, kind=kind, keep_models=False)", "replace(runtime, kind=kind)", IN_GRID),
    (CHOICE, "if one.place == EDGE", "if not one.place", IN_CHOICE),
    (GRID, "        _say_how_chosen(recipe, decisions, store)\n", "", IN_CHOICE),
    (GRID, "keep = runtime.keep_models and recipe.keep_models", "keep = runtime.keep_models", IN_GRID),
    (GRID, "            _pool(cells, store, runtime)\n", "            pass\n", IN_POOLED),
    (FINISHED, 'if config.data in ("", record.identity.get("data"))', "if record", IN_KEYS),
    (FINISHED, "if complete(record, config)", "if record", IN_KEYS),
    (MEASURE, "if gone and not retrain:", "if gone and retrain:", IN_KEYS),
    (MEASURE, "if store.find_model(parents[s]) is None", "if store.find_model(parents[s])", IN_KEYS),
    (POOL, 'SEEDS = ("seed", "unlearn_seed")', 'SEEDS = ("unlearn_seed",)', IN_POOLED),
    (
        POOL,
        "{role: sorted(one[stage] for one in parents)",
        "{role: sorted(one[stage] for one in parents[:4])",
        IN_POOLED,
    ),
    (
        COMPARE,
        "abs(self.observed - self.expected.value) <= self.expected.tolerance",
        "self.observed - self.expected.value <= -self.expected.tolerance",
        IN_GRID,
    ),
    (COMPARE, "if ours[name] != theirs[name]", "if ours[name] == theirs[name]", IN_GRID),
    (
        EXECUTORS,
        "            report.found.append(identity)\n            return\n",
        "            report.found.append(identity)\n",
        IN_GRID,
    ),
    (EXECUTORS, "    report.remaining = len(cells) - reached\n", "    report.remaining = 0\n", IN_GRID),
    (
        POOLED,
        "return np.where(p > 0, p * np.log(np.maximum(p, FLOOR) / np.maximum(q, FLOOR)), 0.0).sum(-1)",
        "return np.where(q > 0, q * np.log(np.maximum(q, FLOOR) / np.maximum(p, FLOOR)), 0.0).sum(-1)",
        IN_POOLED,
    ),
    (
        POOLED,
        "np.mean([divergence(reference[a], model[b], weights) for a, b in sides], axis=0)",
        "np.mean([divergence(reference[a], model[a], weights) for a, b in sides], axis=0)",
        IN_POOLED,
    ),
    (
        POOLED,
        "    mean = (margins.sum(0) - margins) / count\n",
        "    mean = np.broadcast_to(margins.mean(0), margins.shape)\n",
        IN_POOLED,
    ),
    (
        POOLED,
        "(counts * (members.ravel() > threshold)).sum()",
        "(counts * (members.ravel() < threshold)).sum()",
        IN_POOLED,
    ),
    # data
    (SOURCE, "complete = bool(sides) and all(sides.values())", "complete = bool(sides)", IN_KEYS),
    (SOURCE, "s.st_size, s.st_mtime_ns, s.st_ctime_ns]", "s.st_size]", IN_KEYS),
    (
        FOLDERS,
        "    for name in classes:\n",
        "    for name in classes[::-1]:\n",
        IN_DATA,
    ),
    (FOLDERS, "scale = size / min(image.size)", "scale = size / max(image.size)", IN_DATA),
    (IMAGES, "take[place] += 1", "take[place] += 2", IN_DATA),
    (IMAGES, "bad = ((labels < 0) | (labels >= classes)).nonzero()", "bad = (labels < 0).nonzero()", IN_DATA),
    # records
    (IDENTITY, "return field.default is dataclasses.MISSING or value != field.default", "return True", IN_IDENTITY),
    (IDENTITY, '    if not field.metadata.get("identifies", True):\n        return False\n', "", IN_IDENTITY),
    (IDENTITY, '{"kind": kind, "schema": schema, "config"', '{"schema": schema, "config"', IN_STORE),
    (IDENTITY, 'return {"type": type(obj).__name__} | {', "return {", IN_IDENTITY),
    (STORE, "as_json({**_pointers(folder), **evaluations})", "as_json({**evaluations, **_pointers(folder)})", IN_STORE),
    (STORE, 'if record and record.config.get("pooled")]', "if record]", IN_STORE),
    (STORE, "if head.schema != SCHEMA]", "if False]", IN_STORE),
    (STORE, 'if part.config.get("metric") != metric:', "if False:", IN_STORE),
    (
        STORE,
        "            self.set_aside(folder, str(error))\n            return None\n\n    def save_model",
        "            return None\n\n    def save_model",
        IN_STORE,
    ),
    (FOLDER, "if sha is not None and hashlib.sha256(data).hexdigest() != sha:", "if False:", IN_STORE),
    (
        FOLDER,
        'raise _damaged(path, "does not match its hash")\n    return content',
        "return content\n    return content",
        IN_STORE,
    ),
    (FOLDER, "    (folder / marker).unlink(missing_ok=True)\n", "", IN_STORE),
    (FOLDER, "    if hashed != name:\n", "    if False:\n", IN_STORE),
    (
        FOLDER,
        "return data if hashlib.sha256(data).digest() == seal else None",
        "return data",
        "tests/empirical/test_checkpoint.py -k damaged",
    ),
    (INDEX, "if line is None or line.stamp != stamp:", "if line is None:", IN_STORE),
    (INDEX, 'if check == b"%08x" % zlib.crc32(body)]', "if body]", IN_STORE),
    (DAMAGE, "if line not in self.lines:", "if True:", IN_STORE),
    (CHECKPOINTS, "numbers[: 1 - KEPT]", "numbers[:0]", "tests/empirical/test_checkpoint.py -k damaged"),
    (ENDING, "again and number == signal.SIGINT", "again and False", IN_EXECUTORS),
    (ENDING, "if signal.getsignal(number) != signal.SIG_IGN:", "if True:", IN_EXECUTORS),
    (EXECUTORS, "and not workspace.runtime.retry_failed:", "and workspace.runtime.retry_failed:", IN_EXECUTORS),
    (
        EXECUTORS,
        "            if report.failure_code == DiskFullError.exit_code:\n",
        "            if False:\n",
        IN_EXECUTORS,
    ),
    (RECORD, "        result |= part.result\n", "", IN_STORE),
    (RECORD, "found.setdefault(record.run_id, record)", "found[record.run_id] = record", IN_STORE),
    (RECORD, "if len(matches) != 1:", "if not matches:", IN_STORE),
    (PACK, 'if _sha(row) != row["sha256"]:', "if False:", IN_STORE),
    (PACK, 'return record_fault({**row, "result"', 'return "" and record_fault({**row, "result"', IN_STORE),
    (PACK, '"stands in it twice" if', '"" if', IN_STORE),
    (PACK, 'return "" if listed == row', 'return "" if True or listed == row', IN_STORE),
    (PACK, "missing = [one for one in manifest if one not in seen]", "missing = []", IN_STORE),
    (SETTINGS, 'value < low or (limits.get("open_low", False) and value == low)', "value < low", IN_FIELDS),
    (SETTINGS, "if isinstance(value, float) and not math.isfinite(value):", "if False:", IN_FIELDS),
    (SETTINGS, "        if type(value) is not annotation:\n", "        if False:\n", IN_FIELDS),
]
