"""Bugs of what is large: ImageNet, many processes in one training, plans, and what is read from disk."""

IMPORTS, SALIENCY = "empirical/runs/imports.py", "empirical/training/saliency.py"
IMAGES, FOLDERS = "empirical/data/images.py", "empirical/data/folders.py"
PLAN, COST, IN_PLAN = "empirical/studies/plan.py", "empirical/studies/cost.py", "tests/empirical/test_plan.py"
IN_IMAGENET = "tests/empirical/test_imagenet.py -m 'not slow'"

BUGS = [
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
    # plans
    (PLAN, "(*against, *shared, trained))", "(*shared, trained))", IN_PLAN),
    (PLAN, "(*shared, *first), weights)", "(*shared,), weights)", IN_PLAN),
    (COST, '(one[1].device != "cpu", one[0])', '(one[1].device == "cpu", one[0])', IN_PLAN),
    (COST, "rate.per_second * known / work", "rate.per_second * work / known", IN_PLAN),
    (COST, "folders[:: max(1, len(folders) // LOOKED_AT)]", "folders", IN_PLAN),
    (COST, "tail[need] = max(tail[need], hours[need] + tail[name])", "tail[need] = hours[need]", IN_PLAN),
    (COST, "while ready and len(busy) < tasks:", "while ready:", IN_PLAN),
    (COST, 'if rule == "sgd" and row', "if row", IN_PLAN),
    (COST, '(2 if config.method == "neggrad" else 1)', "1", IN_PLAN),
    (
        "empirical/registry.py",
        "area = (edge / known_edge) ** 2 if edge else 1.0",
        "area = edge / known_edge if edge else 1.0",
        IN_PLAN,
    ),
    (FOLDERS, "names += found", "names = found + names", "tests/empirical/test_data.py"),
]
