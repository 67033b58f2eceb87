"""Bugs in what people who use the toolkit meet first: installation, models and data of their own, numbers out."""

SHIPPED, GPU, EXTRAS = "repro/records/shipped.py", "repro/commands/gpu.py", "repro/commands/extras.py"
UNLEARNING, IN_MEMORY = "empirical/runs/unlearning.py", "empirical/runs/in_memory.py"
EXCHANGE, CARD = "empirical/runs/exchange.py", "empirical/runs/model_card.py"
MEMORY, PREDICATE, HUB = "empirical/data/memory.py", "empirical/data/predicate.py", "empirical/data/hub.py"
FOLDERS, PLAIN, TIMM = "empirical/data/folders.py", "empirical/models/plain.py", "empirical/models/timm_models.py"
OF_MEMORY, OF_EXCHANGE = "tests/empirical/test_in_memory.py", "tests/empirical/test_exchange.py"
OF_DATA, OF_INSTALL = "tests/empirical/test_any_data.py", "tests/install/test_shipped.py"

BUGS = [
    # installation
    (SHIPPED, "sorted(mine) + sorted", "sorted", OF_INSTALL),
    (SHIPPED, 'if not any(folder.glob(name))), "")', 'if False), "")', OF_INSTALL),
    (SHIPPED, "path.is_file() or path.parent", "path.parent", OF_INSTALL),
    (EXTRAS, '(error.name or "").partition(".")[0]', 'error.name or ""', OF_INSTALL),
    (GPU, "driver >= oldest", "driver > (999, 0)", OF_INSTALL),
    (GPU, "if wheel is None:", "if False:", OF_INSTALL),
    (GPU, '("Python.h", headers.is_file())', '("Python.h", True)', OF_INSTALL),
    # a user's model in memory
    (IN_MEMORY, "networks = [network_of(copy.deepcopy(model), held)", "networks = [network_of(model, held)", OF_MEMORY),
    (IN_MEMORY, "rows[:count], rows[count:]", "rows[count:], rows[:count]", OF_MEMORY),
    (IN_MEMORY, "**{**own, **settings}", "**settings", OF_MEMORY),
    (IN_MEMORY, "if one not in absent", "if True", OF_MEMORY),
    (PLAIN, "torch.equal(layer(seen[0]), logits)", "True", OF_MEMORY),
    (MEMORY, "self.ends[side - 1] if side else 0", "0", OF_MEMORY),
    # models in and out
    (EXCHANGE, "weights_only=True", "weights_only=False", OF_EXCHANGE),
    (EXCHANGE, "str(name).removeprefix", "str(name).removesuffix", OF_EXCHANGE),
    (EXCHANGE, "if renamed[name].shape != value.shape:", "if False:", OF_EXCHANGE),
    (EXCHANGE, "> largest * 2**30", "> LARGEST * 2**30", OF_EXCHANGE),
    (CARD, "(images - mean) / std", "(images - mean) * std", OF_EXCHANGE),
    # any data, any model
    (PREDICATE, "met &= _meets(table, term)", "met |= _meets(table, term)", OF_DATA),
    (HUB, "images += [brought_to(image, size)", "images += [image", OF_DATA),
    (FOLDERS, "max(1, len(paths) // 5)", "max(1, len(paths) // 2)", OF_DATA),
    (TIMM, "pre_logits=True)\n", "pre_logits=False)\n", OF_DATA),
]
