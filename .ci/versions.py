"""Versions for the Makefile: the lowest that pyproject.toml allows, a lock with hashes, and an audit of what is there.

`lowest` prints constraints; `lock REPORT` turns pip's report into a file for `pip install --require-hashes`; `audit`
runs pip-audit and fails where its service can look up no package, unless `--offline` says that this is expected.
"""

import argparse
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


def audit(*, offline: bool = False) -> int:
    """Return the exit code of an audit: 1 when a package has a known fault, 3 when no package was looked up, else 0.

    Args:
        offline: the service cannot be reached from here, so an audit of nothing is 0.
    """
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):  # pip-audit ended before its report
        print(done.stdout + done.stderr[-2000:])
        packages = []
    looked_up = [one for one in packages if "vulns" in one]
    faults = [f"{one['name']} {one['version']}: {fault['id']}" for one in looked_up for fault in one["vulns"]]
    print("".join(f"{line}\n" for line in faults), end="")
    print(f"{len(looked_up)} of {len(packages)} packages were looked up, {len(faults)} known faults")
    if not looked_up:
        print("not audited: pip-audit could look up no package" + ("" if offline else "; --offline accepts that"))
        return 0 if offline else 3
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lowest", "lock", "audit"))
    parser.add_argument("report", nargs="?", type=Path, help="pip's report, for lock")
    parser.add_argument("--offline", action="store_true", help="an audit that can look nothing up is no failure")
    asked = parser.parse_args()
    if asked.what == "audit":
        sys.exit(audit(offline=asked.offline))
    if asked.what == "lock" and asked.report is None:
        parser.error("lock: needs the file of pip's report")
    print(lowest() if asked.what == "lowest" else lock(asked.report), end="")
