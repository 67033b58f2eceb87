"""Versions for the Makefile: the lowest that pyproject.toml allows, a lock with hashes, and an audit of what is there.

`lowest` prints constraints; `lock REPORT` turns pip's report into a file for `pip install --require-hashes`; `audit`
runs pip-audit and says so where its service cannot be reached.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest() -> str:
    """Return `name==version` for every lower bound of the project and of the extras that add features to it."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    tools = ("docs", "audit", "mutation", "test")
    extras = [found for name, found in project["optional-dependencies"].items() if name not in tools]
    wanted = [*project["dependencies"], *(one for extra in extras for one in extra)]
    found = [re.match(r"([A-Za-z0-9_-]+)(?:\[[a-z]+\])?>=([0-9.]+)", one) for one in wanted]
    return "".join(f"{match[1]}=={match[2]}\n" for match in found if match)


def lock(report: Path) -> str:
    """Return one line a package with the sha256 of its file; packages without one are refused."""
    lines = []
    for one in json.loads(report.read_text())["install"]:
        name, version = one["metadata"]["name"], one["metadata"]["version"]
        sha = one["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if sha:
            lines.append(f"{name}=={version} --hash=sha256:{sha}\n")
        elif not one["is_direct"]:
            raise SystemExit(f"{name}: the index gives no hash")
    return "".join(sorted(lines, key=str.lower))


def audit() -> int:
    """Return pip-audit's exit code: 1 when a package has a known fault; 0, with a word, where nobody can be asked."""
    done = subprocess.run([sys.executable, "-m", "pip_audit", "--skip-editable"], capture_output=True, text=True)
    print(done.stdout + done.stderr[-2000:])
    known = "known vulnerabilit" in done.stdout + done.stderr
    if unknown := done.stdout.count("could not be audited"):
        print(f"{unknown} packages were not audited: the service does not know them, or cannot be reached")
    if done.returncode and not known:
        print("pip-audit could not reach its service: the packages were not audited")
        return 0
    return done.returncode


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "audit":
        sys.exit(audit())
    print(lowest() if what == "lowest" else lock(Path(sys.argv[2])), end="")
