"""Write frozen entries anew, on purpose; the commit that does so says what moved and why.

python -m tests.golden.freeze ids                 # of all committed records and the stages behind them
python -m tests.golden.freeze tables fig-tow      # of the figures named, or of all
python -m tests.golden.freeze commands
python -m tests.golden.freeze runs                # whole runs, whose numbers `cells.py` computes
"""

import json
import sys
import tempfile
from pathlib import Path

import pandas as pd

from figures.catalogue import FIGURES
from tests.golden import cells, commands, ids, small, tables


def main(part: str, *names: str) -> None:
    """Write the entries of one part."""
    if part == "ids":
        rows = pd.DataFrame(ids.frozen_rows(ids.committed_records().values()))
        rows.to_parquet(ids.FILE, compression="zstd", index=False)
    elif part == "tables":
        tables.freeze([*names] or [*FIGURES])
    elif part == "commands":
        with tempfile.TemporaryDirectory() as folder:
            found = commands.answers(Path(folder), [*commands.EMPTY, *commands.TINY])
        with tempfile.TemporaryDirectory() as folder:
            found |= commands.answers(Path(folder), commands.SLOW)
        lines = [f"{json.dumps(line)}: {json.dumps(said)}" for line, said in found.items()]
        commands.FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    elif part == "small":
        found = {name: dict(compute()) for name, compute in small.PARTS.items()}
        small.FILE.write_text(json.dumps(found, indent=0) + "\n")
    elif part == "runs":
        cells.FILE.write_text(json.dumps(cells.golden_numbers(), indent=1) + "\n")
    else:
        raise SystemExit(f"{part}: must be ids, tables, commands, small or runs")


if __name__ == "__main__":
    main(*sys.argv[1:])
