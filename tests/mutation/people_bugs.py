"""Bugs in what people who use the toolkit meet first: installation, models and data of their own, numbers out."""

SHIPPED, GPU, EXTRAS = "repro/records/shipped.py", "repro/commands/gpu.py", "repro/terminal/extras.py"
UNLEARNING, IN_MEMORY = "empirical/runs/unlearning.py", "empirical/exchange/in_memory.py"
EXCHANGE, CARD = "empirical/exchange/models.py", "empirical/exchange/model_card.py"
MEMORY, PREDICATE, HUB = "empirical/data/memory.py", "empirical/data/predicate.py", "empirical/data/hub.py"
FOLDERS, PLAIN, TIMM = "empirical/data/folders.py", "empirical/models/plain.py", "empirical/models/timm_models.py"
LOOP, AUGMENT = "empirical/training/loop.py", "empirical/augmentation/augment.py"
OF_MEMORY, OF_EXCHANGE = "tests/empirical/test_in_memory.py", "tests/empirical/test_exchange.py"
OF_STREAM = "tests/empirical/test_stream.py"
GLOSSARY, EXPORT, WORDS = "repro/base/glossary.py", "repro/commands/export.py", "repro/commands/words.py"
CITATION, WATCH, TRACKERS = "repro/terminal/citation.py", "empirical/studies/watch.py", "repro/terminal/trackers.py"
WATCHING, EMBED = "repro/terminal/watching.py", "figures/report/embed.py"
HEADLINES, PLOTS, FILES = "figures/report/headlines.py", "figures/report/plots.py", "figures/drawing/files.py"
RECORDS, STORE, GRID = "repro/commands/records.py", "repro/records/store.py", "empirical/studies/grid.py"
DOCTOR, THEORY = "repro/commands/doctor.py", "repro/commands/theory.py"
CLI, STUDIES, ERRORS = "repro/commands/cli.py", "repro/commands/studies.py", "repro/base/errors.py"
INDEX, PACK, OUTPUT = "repro/records/index.py", "repro/records/pack.py", "repro/terminal/output.py"
OF_COMMANDS = "tests/repro/test_commands.py"
OF_BAD = "tests/catalogue/test_bad_inputs.py -m slow"
OF_EXPORT, OF_WATCH = "tests/repro/test_export.py", "tests/empirical/test_watch.py"
OF_PAGE, OF_FILES = "tests/figures/report/test_report.py", "tests/figures/drawing/test_files.py -k 'latex or style'"
OF_PLOTS = "tests/figures/report/test_report.py -k 'nothing_else or diverged or sweep'"
FIGURES, OF_STRICT = "repro/commands/figures.py", "tests/repro/test_cli.py -k strict_names"
OF_DISK = "tests/figures/drawing/test_files.py -m 'not slow' -k 'draft or gone'"
OF_DATA, OF_INSTALL = "tests/empirical/test_any_data.py", "tests/install/test_shipped.py"
ENDING, MODELS, PICTURES = "repro/base/ending.py", "repro/commands/models.py", "figures/report/pictures.py"
SNAPSHOTS, UMAP, OF_UMAP = (
    "figures/tables/snapshots.py",
    "figures/networks/umap.py",
    "tests/figures/networks/test_umap.py",
)
OF_NUMBERS = "tests/empirical/test_in_memory.py -k 'no_numbers or pools'"
FORGET, OF_ROWS = "empirical/data/forget.py", "tests/empirical/test_forget.py -k 'own_forget or bad_index'"
SUBSETS, OF_SUBSETS = "empirical/runs/subset_models.py", "tests/empirical/test_forget.py -k diverged"
COMMANDS, MEMORIZATION = "repro/commands/empirical.py", "empirical/data/memorization.py"
CELL, OF_RULES = "empirical/runs/cell.py", "tests/empirical/test_config.py -k two_losses"
OF_CARD = "tests/empirical/test_exchange.py -k lines_of_a_card"
OF_TABLES = "tests/empirical/test_any_data.py -k cannot_be_read"
CELLS, OF_CELLS = "figures/tables/cells.py", "tests/figures/tables/test_cells.py"

BUGS = [
    (EXPORT, "if readme.exists() and SIGNED not in", "if False and SIGNED not in", f"{OF_EXPORT} -k failed_run_is"),
    (EXPORT, '    "error": "what ended a failed run", ', "    ", f"{OF_EXPORT} -k failed_run_is"),
    (PLOTS, "unlearn_table(runs[:MOST_POINTS])", "unlearn_table(runs)", OF_PAGE),
    # installation
    (SHIPPED, "return mine + sorted", "return sorted", OF_INSTALL),
    (SHIPPED, 'if not any(folder.glob(name))), "")', 'if False), "")', OF_INSTALL),
    (SHIPPED, "path.is_file() or path.parent", "path.parent", OF_INSTALL),
    (EXTRAS, '(error.name or "").partition(".")[0]', 'error.name or ""', OF_INSTALL),
    (GPU, "driver >= oldest", "driver > (999, 0)", OF_INSTALL),
    (GPU, "if wheel is None:", "if False:", OF_INSTALL),
    (GPU, '("Python.h", headers.is_file())', '("Python.h", True)', OF_INSTALL),
    (ENDING, " for name in NAMES if hasattr(signal, name))", " for name in NAMES)", OF_INSTALL),
    # a user's model in memory
    (IN_MEMORY, "if not isinstance(model, nn.Module) or not", "if not", OF_MEMORY),
    (MEMORY, "if not value.is_integer():", "if False:", OF_MEMORY),
    (MEMORY, "except (TypeError, ValueError, RuntimeError) as error:", "except RuntimeError as error:", OF_MEMORY),
    (IN_MEMORY, "networks = [network_of(copy.deepcopy(model), held,", "networks = [network_of(model, held,", OF_MEMORY),
    # grey of 16 bits is cut off at 255, or handed on as it is
    ("empirical/data/files.py", "np.asarray(as_rgb(image))", 'np.asarray(image.convert("RGB"))', OF_STREAM),
    ("empirical/data/stream.py", "resized = as_rgb(image)", 'resized = image.convert("RGB")', OF_STREAM),
    ("empirical/data/stream.py", "if whole.dtype == torch.uint8:", "if True:", OF_STREAM),
    # a loader's sampler is dropped: the wrong images are forgotten
    (MEMORY, "return Subset(whole, list(sampler.indices))", "return whole", OF_MEMORY),
    (MEMORY, "and not sampler.replacement", "", OF_MEMORY),
    (MEMORY, "batches.sampler is sampler", "True", OF_MEMORY),
    (
        IN_MEMORY,
        "weight.copy_(weight.flatten()[torch.randperm(weight.numel()).to(weight.device)].view_as(weight))",
        "pass",
        OF_MEMORY,
    ),
    (IN_MEMORY, "if composed(model, example) else", 'if hasattr(model, "head") else', OF_MEMORY),
    (IN_MEMORY, "held, config.seed).as_asked()", "held, config.seed)", OF_MEMORY),
    (
        LOOP,
        'with drawing_from(derive_seed(stage.seed, "model", stage.group.rank)), one_image',
        "with one_image",
        OF_MEMORY,
    ),
    (AUGMENT, "and dtype != torch.uint8", "and False", OF_MEMORY),
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
    (EXCHANGE, "except UnpicklingError as error:", "except ZeroDivisionError as error:", OF_EXCHANGE),
    (MODELS, "LocalTokenNotFoundError, HTTPError, OSError) as error", "OSError) as error", OF_EXCHANGE),
    # any data, any model
    (PREDICATE, "met &= _meets(table, term)", "met |= _meets(table, term)", OF_DATA),
    (HUB, "images += [brought_to(image, size)", "images += [image", OF_DATA),
    (FOLDERS, "max(1, len(whole.labels) // 5)", "max(1, len(whole.labels) // 2)", OF_DATA),
    # numbers out
    (EXPORT, "values[place] for name, values in result", "values[0] for name, values in result", OF_EXPORT),
    (EXPORT, "column.removesuffix(ending)", "column", OF_EXPORT),
    (EXPORT, 'study in (record.provenance.get("study")', 'study not in ("", record.provenance.get("study")', OF_EXPORT),
    (
        EXPORT,
        ", wanted=lambda record: _belongs(record, study, noted))",
        ")",
        f"{OF_EXPORT} -k 'one_row_a_run or found_too'",
    ),
    (EXPORT, "return own or study in", "return study in", f"{OF_EXPORT} -k found_too"),
    (RECORDS, " or record.run_id in noted]", "]", f"{OF_EXPORT} -k found_too"),
    (STORE, "sorted({*self.noted(study), *runs})", "sorted(runs)", f"{OF_EXPORT} -k found_too"),
    (STORE, 'if found["digest"] == digest(known):', "if known:", "tests/repro/test_store.py -k noted"),
    (GRID, "[*report.done, *report.found])", "report.done)", "tests/empirical/test_grid.py -k whichever_study"),
    (EXPORT, ' column.removeprefix("cell_")', " column", f"{OF_EXPORT} -k smallest_alpha"),
    (EXPORT, '[same | row for row in record.result["rows"]]', "[same]", f"{OF_EXPORT} -k smallest_alpha"),
    (EXPORT, 'if name.endswith("interval") and', 'if name.endswith("interval?") and', f"{OF_EXPORT} -k two_ends"),
    ("theory/benign.py", 'collect(study="theory-alpha")', 'collect(study="alpha")', f"{OF_EXPORT} -k smallest_alpha"),
    (GLOSSARY, "return (exact or fits)[0]", "return fits[-1]", OF_EXPORT),
    (GLOSSARY, "name in (term.name, *term.also)}:", "name in (term.name,)}:", OF_EXPORT),
    (WORDS, '"exclusiveMinimum" if limits.get("open_low") else "minimum"', '"maximum"', OF_EXPORT),
    (CITATION, '"publication_date": finished,', '"publication_date": "",', OF_EXPORT),
    (FILES, 'f"\\\\caption{{{_escape(caption)}}}", label', "label", OF_FILES),
    # while it runs
    (WATCH, "del self.awaited[identity]", "pass", OF_WATCH),
    (WATCH, 'return record.status != "ok" or complete(record, cell)', "return True", OF_WATCH),
    (WATCH, "self.there + self.made, self.total", "self.made, self.total", OF_WATCH),
    (WATCH, "        self._once()\n        self.watch", "        self.watch", OF_WATCH),
    (WATCH, "except Exception as error:", "except (OSError, RuntimeError, ValueError) as error:", OF_WATCH),
    (WATCH, "if self.unnamed and (runs := self._runs()) != self.runs:", "if (runs := 0):", f"{OF_WATCH} -k fetched"),
    (WATCH, "(runs := self._runs()) != self.runs:", "(runs := self._runs() + 1):", f"{OF_WATCH} -k fetched"),
    (WATCH, "self.there += len(found) - len(new)", "self.there = len(found)", f"{OF_WATCH} -k fetched"),
    (WATCH, ", epochs {config['epochs']}", "", f"{OF_WATCH} -k chosen"),
    (WATCHING, "console().print(text, markup=False,", "console().print(text,", f"{OF_WATCH} -k live"),
    (WATCHING, "    if not quiet:\n", "    if True:\n", OF_WATCH),
    (TRACKERS, "1000 * int(row", "1 * int(row", OF_WATCH),
    # what is refused, and what is shown
    (RECORDS, "if whole and values.size <= MOST_VALUES:", "if whole:", "tests/repro/test_cli.py -k small_arrays"),
    (RECORDS, "if creator and not zenodo:", "if False:", f"{OF_BAD} -k 'authors and citation'"),
    (RECORDS, "if store.is_file() or (store", "if (store", f"{OF_BAD} -k 'verify and file'"),
    (RECORDS, "and not store.is_dir()):", "and False):", f"{OF_BAD} -k 'verify and there'"),
    (RECORDS, "if kind and heads:", "if False:", f"{OF_BAD} -k 'unknown and kind'"),
    (RECORDS, "if kind and heads:", "if kind:", "tests/repro/test_cli.py -k nobody_has"),
    (DOCTOR, "if folder and not folder.is_dir():", "if False:", f"{OF_BAD} -k 'folder and data and there'"),
    (
        THEORY,
        "if radius is not None and source is not None",
        "if False and source is not None",
        f"{OF_BAD} -k 'both and units'",
    ),
    (
        THEORY,
        "    ClaimConfig(seeds=seeds, first_seed=first_seed)",
        "    _ = ClaimConfig",
        f"{OF_BAD} -k 'for and cluster'",
    ),
    # the page
    (EMBED, "zlib.compress(text.encode(), 9)", "text.encode()", OF_PAGE),
    (HEADLINES, "if len(text) <= most:", "if True:", OF_PAGE),
    (HEADLINES, "headlines(assess(records), 3)", "headlines(assess(records), 1)", OF_PAGE),
    (HEADLINES, "if one.item.title not in FIGURES]", "]", OF_PAGE),
    (HEADLINES, "if picture.exists() else", "if True else", OF_PAGE),
    (HEADLINES, '== text[:place].count("]") + text[:place].count(")")]', "or True]", OF_PAGE),
    (PICTURES, 'if "not_run" in data or not PICTURES', "if not PICTURES", OF_PAGE),
    (CELLS, "if len(values) == 1 or (values and name in names[:2])", "if values", OF_CELLS),
    (CELLS, " or (values and name in names[:2])", "", OF_CELLS),
    (FILES, "if wide else lines", "if False else lines", OF_FILES),
    (FILES, "digest([*state, one]) for one in", "digest([*state]) for one in", OF_DISK),
    (FILES, "or not all(file.exists() for file in files)", "or not files", OF_DISK),
    (FILES, "for path in (*files.values(), *beside))", "for path in files.values())", OF_DISK),
    (FILES, '(style, "paper") if style == "draft" else', '(style,) if style == "draft" else', OF_DISK),
    (
        FIGURES,
        "for item in lacking for line in item.missing)",
        "for item in lacking for line in item.missing[:1])",
        OF_STRICT,
    ),
    (FIGURES, "item.missing} if json", "item.missing[:1]} if json", OF_STRICT),
    (SNAPSHOTS, "(*VARY, *TUNED))", "VARY)", OF_UMAP),
    (SNAPSHOTS, "return [*beside,", "return [*beside[:1],", OF_UMAP),
    (UMAP, '[k for k, one in enumerate(shown) if one.model == "unlearned"]', "list(range(1, len(shown)))", OF_UMAP),
    (PLOTS, "column_intervals(retain + forget)", "column_intervals(retain)", OF_PAGE),
    (PLOTS, '_points(learned["mean"])', "_points((retain + forget).mean(axis=0))", OF_PLOTS),
    (PLOTS, "round(float(value), 6) if isfinite(value) else None", "round(float(value), 6)", OF_PLOTS),
    (
        PLOTS,
        "if isfinite(value) else None\n    return value",
        "if value == value else None\n    return value",
        OF_PLOTS,
    ),
    (PLOTS, "table.groupby(list(CELL), sort", "table.groupby(list(CELL[4:]), sort", OF_PLOTS),
    (PLOTS, 'together.groupby("key", sort=False)', 'together.groupby("alpha", sort=False)', OF_PLOTS),
    (PLOTS, "without((*MEASURED, *LANDSCAPE))", "without(LANDSCAPE)", OF_PLOTS),
    (EMBED, ', ":"), allow_nan=False)', ', ":"))', OF_PLOTS),
    (TIMM, "pre_logits=True)\n", "pre_logits=False)\n", OF_DATA),
    # Inputs of a user's own that gave numbers without saying that they mean nothing.
    (IN_MEMORY, "for role in reversed(outputs) if not outputs[role].finite()", "for role in ()", OF_NUMBERS),
    (IN_MEMORY, "for name in config.metrics if metric(name).pooled", "for name in ()", OF_NUMBERS),
    (FORGET, "if (counts > 1).any():", "if False:", OF_ROWS),
    (FORGET, "(values < 0) | (values >= total)", "values >= total", OF_ROWS),
    (
        FORGET,
        'forget = check_rows(load("forget_sets", config.difficulty)(found), pool, len(labels), what=what)',
        'forget = np.sort(load("forget_sets", config.difficulty)(found))',
        OF_ROWS,
    ),
    (SUBSETS, "if not bool(logits.isfinite().all()):", "if False:", OF_SUBSETS),
    (SUBSETS, 'if model.facts["diverged_at"]:', "if False:", OF_SUBSETS),
    (
        COMMANDS,
        "config = replace(config, data=workspace.identified(config.training()).data)",
        "config = config",
        "tests/empirical/test_forget.py -k commands_estimate",
    ),
    (MEMORIZATION, "if not 0 < size < count:", "if size > count:", "tests/empirical/test_forget.py -k of_no_image"),
    (CELL, 'if label not in ("pretrain", "none") and _parts(config, label) != {"all"}:', "if False:", OF_RULES),
    (
        CELL,
        "legs = [leg for leg, _ in parse_legs(label, config.pretrain_epochs)]",
        "legs = [label.split(', ')[-1]]",
        OF_RULES,
    ),
    (
        FOLDERS,
        "        if whole and not found:",
        "        if False:",
        "tests/empirical/test_any_data.py -k class_without",
    ),
    (CARD, 'kind = ", dtype=torch.float64" if config.precision == "fp64" else ""', 'kind = ""', OF_CARD),
    (CARD, "if normalizes_twice(config):", "if False:", OF_CARD),
    (
        "empirical/runs/run.py",
        'if found.config.get("trajectory") and not config.trajectory:',
        "if False:",
        "tests/empirical/test_stages.py -k outlives",
    ),
    (
        "empirical/runs/run.py",
        "    measured(experiment.config.rows_measured, experiment.split.forget",
        "    (lambda *_: 0)(0",
        "tests/empirical/test_halves.py -k halves_that",
    ),
    (
        "empirical/settings/keys.py",
        "or any(_compares(need) for need in one.needs)",
        "",
        "tests/empirical/test_keys.py -k declares",
    ),
    (
        "empirical/studies/choice.py",
        '        if cell.retrain == "none":',
        "        if False:",
        "tests/empirical/test_choice.py -k nothing_to_choose",
    ),
    (
        "empirical/methods/retain.py",
        "if sparse > 0 else 0.0",
        "if sparse > 0 else 1.0",
        "tests/empirical/test_method_effects.py -k l1_sparse",
    ),
    (PREDICATE, "except (ValueError, OSError) as error:", "except OSError as error:", OF_TABLES),
    # what commands pass on and print
    (CLI, "128 + stopped.signal if stopped.signal else 0)", "128 + stopped.signal)", f"{OF_COMMANDS} -k every_end"),
    (CLI, "no more to be had'}); {KEPT}\", 4)", "no more to be had'}); {KEPT}\", 1)", f"{OF_COMMANDS} -k every_end"),
    (CLI, "return code or (_fail(", "return (_fail(", f"{OF_COMMANDS} -k damage"),
    (ERRORS, "(errno.ENOSPC, errno.EDQUOT, errno.EFBIG)", "(errno.ENOSPC,)", f"{OF_COMMANDS} -k every_end"),
    (INDEX, 'for name in ("study", "finished"))', 'for name in ("finished", "study"))', f"{OF_COMMANDS} -k listing"),
    (PACK, 'said.get("study", ""), said', 'said.get("finished", ""), said', f"{OF_COMMANDS} -k listing"),
    (
        RECORDS,
        "run, kind, status, _, study, finished, source",
        "run, kind, status, _, finished, study, source",
        f"{OF_COMMANDS} -k listing",
    ),
    (THEORY, "    rho, pretrain_rho = radii\n", "    pretrain_rho, rho = radii\n", f"{OF_COMMANDS} -k radii"),
    (THEORY, "config.at_radius(rho, pretrain_rho)", "config.at_radius(rho)", f"{OF_COMMANDS} -k radii"),
    (THEORY, "signal_norm=signal[1], **fields", "signal_norm=None, **fields", f"{OF_COMMANDS} -k radii"),
    (
        THEORY,
        'values.get(f"{name}_se"))',
        'values.get("test_error_se"))',
        f"{OF_COMMANDS} -k line_of_theory",
    ),
    (
        THEORY,
        'row[f"{how}_forget_error"], row',
        'row["simulated_forget_error"], row',
        f"{OF_COMMANDS} -k line_of_alpha",
    ),
    (THEORY, "[{low:.3g}, {high:.3g}]", "[{high:.3g}, {low:.3g}]", f"{OF_COMMANDS} -k verdict"),
    (THEORY, "names = list(table) if everything else", "names =", f"{OF_COMMANDS} -k sweep"),
    (
        COMMANDS,
        '"unlearned": "", "retrained (the goal)": "retrained_"',
        '"unlearned": "retrained_", "retrained": ""',
        f"{OF_COMMANDS} -k own_accuracies",
    ),
    (
        COMMANDS,
        '    if record.status == "diverged":\n',
        '    if record.status == "failed":\n',
        f"{OF_COMMANDS} -k own_accuracies",
    ),
    (FIGURES, "readers(Store(store))[1:], write)", "readers(Store(store)), write)", f"{OF_COMMANDS} -k rests_on"),
    (DOCTOR, '("optional" if optional else "missing")', '"optional"', f"{OF_COMMANDS} -k doctor"),
    (DOCTOR, '"remedy": "" if ok else remedy}', '"remedy": remedy}', f"{OF_COMMANDS} -k doctor"),
    (
        SHIPPED,
        'Path(os.environ.get("REPRO_CACHE", "") or default)',
        'Path(os.environ.get("REPRO_CACHE", default))',
        f"{OF_INSTALL} -k cache",
    ),
    (CITATION, "finished = max(", "finished = min(", f"{OF_EXPORT} -k citation"),
    (WORDS, '"exclusiveMaximum" if limits.get("open_high") else "maximum"', '"maximum"', f"{OF_EXPORT} -k refuses"),
    # bad inputs that ended in a traceback, or in numbers that mean nothing
    (
        OUTPUT,
        "not math.isfinite(value) else value",
        "value != value else value",
        "tests/repro/test_cli.py -k not_finite",
    ),
    (GLOSSARY, "    word = word[:LONGEST]\n", "", f"{OF_EXPORT} -k explanations"),
    (EXPORT, "asked = study[:100]", "asked = study", f"{OF_EXPORT} -k unknown_study"),
    (
        MODELS,
        "TypeError, AttributeError, RecursionError) as",
        "RecursionError) as",
        "tests/repro/test_cli_studies.py -k cannot_be_read",
    ),
    (MODELS, "if not 0 < largest < math.inf:", "if largest <= 0:", f"{OF_BAD} -k 'any and size'"),
    (STUDIES, "if not images_per_second < math.inf:", "if False:", f"{OF_BAD} -k 'card and limits'"),
    (
        THEORY,
        "first_seed=first_seed,\n                         known",
        "first_seed=0,\n                         known",
        f"{OF_COMMANDS} -k theory_starts",
    ),
    (
        COMMANDS,
        '"settings": settings or [], "retrain": retrain,',
        '"settings": [], "retrain": False,',
        f"{OF_COMMANDS} -k measurement",
    ),
    (COMMANDS, 'if mine & {*key.split("_")}]', "]", f"{OF_COMMANDS} -k measurement"),
    (STUDIES, "if not watch or not found.open:", "if not watch or found.open:", f"{OF_COMMANDS} -k watched"),
    (STUDIES, 'if row.state in ("running", "failed")]', 'if row.state == "running"]', f"{OF_COMMANDS} -k watched"),
    (STUDIES, '"to choose" if row.open else row.cell.lr', "row.cell.lr", f"{OF_COMMANDS} -k still"),
    (RECORDS, "home.leftovers() if dry_run else home.tidy()", "home.tidy()", f"{OF_COMMANDS} -k tidying"),
    (FIGURES, "out or folder, study=study, style=style)", "out or folder, style=style)", f"{OF_COMMANDS} -k wall"),
    (FIGURES, '("figures" if style == "paper" else f"figures-{style}")', '"figures"', f"{OF_COMMANDS} -k wall"),
    (
        EXPORT,
        '("pretrained", "pretrained_"), ("retrained", "retrained_")',
        '("pretrained", "retrained_")',
        f"{OF_EXPORT} -k each_stage",
    ),
    (EXPORT, 'result["diverged_at"][place]', 'result["diverged_at"][0]', f"{OF_EXPORT} -k each_stage"),
    (EXPORT, '({"forget_set": forget_set} if forget_set else {})', "{}", f"{OF_EXPORT} -k plain_columns"),
    (EXPORT, '        elif name != "type":\n', "        else:\n", f"{OF_EXPORT} -k plain_columns"),
    (WATCHING, 'record.status if record.status != "ok" else "-"', '"-"', f"{OF_WATCH} -k tug_of_war"),
    (WATCHING, "time.time() + news.left", "news.left", f"{OF_WATCH} -k tug_of_war"),
    (GPU, "oldest is None or driver == (0, 0) or", "oldest is None or", f"{OF_INSTALL} -k blames"),
    (GPU, 'version.split(".")[:2]', 'version.split(".")[-2:]', f"{OF_INSTALL} -k blames"),
    (THEORY, "else min(workers, cores())\n    known", "else workers\n    known", f"{OF_COMMANDS} -k theory_starts"),
    (THEORY, "else min(workers, cores())\n    record", "else workers\n    record", f"{OF_COMMANDS} -k theory_starts"),
    # the accuracy of an imported model is that of fresh weights; a card gives each model the unlearned one's numbers
    (EXCHANGE, "    network.model.load_state_dict(found, strict=True)\n", "", f"{OF_EXCHANGE} -k has_every_metric"),
    (CARD, 'prefix = "" if role == "unlearned" else f"{role}_"', 'prefix = ""', f"{OF_EXCHANGE} -k card_says"),
    # tables with gaps, numbered columns, numbers that no float holds; images of a hub as large as anybody asks
    (PREDICATE, '.fillna(sign == "!=")', ".fillna(False)", f"{OF_DATA} -k missing_value"),
    (PREDICATE, ".map(str)", "", f"{OF_DATA} -k numbered"),
    (PREDICATE, "except (TypeError, OverflowError):", "except TypeError:", f"{OF_DATA} -k says_nothing"),
    (HUB, 'refuse_cost("size", self.size, 3', 'refuse_cost("size", self.size, 0', f"{OF_DATA} -k says_what"),
]
