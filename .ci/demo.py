"""Checks what `casegate demo --json` says about the sample: every planted link
is found, nothing else is, and every signature and log verifies."""

import json
import sys


def main(path):
    with open(path, encoding="utf-8") as file:
        demo = json.load(file)
    nodes = demo["logs_verified"]
    want = {
        "schema": "casegate.demo/1",
        "planted": 12,
        "planted_found": 12,
        "planted_false": 0,
        "signatures_bad": 0,
    }
    wrong = [f"{key} is {demo.get(key)!r}, not {value!r}" for key, value in want.items() if demo.get(key) != value]
    for key in ("bureaus", "cases", "shared", "hits", "evaluations", "exchanged", "signatures_checked"):
        if not demo.get(key, 0) > 0:
            wrong.append(f"{key} is {demo.get(key)!r}")
    if demo["elements"] + demo["duplicates"] + demo["refused"] != demo["rows"]:
        wrong.append("elements, duplicates and refused rows are not all rows")
    # Of n nodes each verifies the logs of all others: n (n - 1).
    if not any(n * (n - 1) == nodes for n in range(2, 100)):
        wrong.append(f"logs_verified is {nodes}, which no number of nodes gives")
    for line in wrong:
        print(f"demo: {line}", file=sys.stderr)
    if not wrong:
        print(f"demo: {demo['planted_found']} of {demo['planted']} planted links found, {demo['planted_false']} false")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1]))
