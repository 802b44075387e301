#!/usr/bin/env python3
"""Runs the three verifiers on a clean bundle and on every planted fault, and
prints what each says. Any disagreement, and any fault that is not found, fails.

    agree.py BUNDLE --policy FILE --casegate BINARY [--sample N] [--only NAME,...]

Python and casegate have to name the same findings in as many files, the same
verdicts and the same exit code; the shell, which looks at a sample of records,
the same kinds of findings and the same exit code. The last line is
`N passed, M failed`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
NEWER = 5    # the exit code for a bundle of a newer format
TIMEOUT_S = 1800
SUMS = {"sums.mismatch", "sums.missing"}


def call(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=False)
    return done.returncode, done.stdout, done.stderr


def refused(code, said):
    """What a verifier says that did not look at a bundle."""
    if code == NEWER and "bundle.newer" in said:
        return {"bundle.newer": 1}
    return {"error": said.strip()[-300:]}


class Verifiers:
    """How each of the three is called, and what it said in one form:
    (exit code, {code: files}, {verdict: records})."""

    def __init__(self, args):
        self.args = args

    def python(self, bundle):
        code, out, err = call(sys.executable, HERE / "verify.py", bundle,
                              "--policy", self.args.policy, "--json")
        if code > 1:
            return code, refused(code, err), {}
        said = json.loads(out)
        return code, dict(Counter(f["code"] for f in said["findings"])), said["verdicts"]

    def casegate(self, bundle):
        code, out, err = call(self.args.casegate, "--json", "audit", "verify", bundle,
                              "--policy", self.args.policy)
        if code > 1:
            return code, refused(code, out + err), {}
        said = json.loads(out)
        return (code, {f["code"]: f["files"] for f in said["findings"]},
                {v["verdict"]: v["records"] for v in said["verdicts"] if v["records"]})

    def shell(self, bundle, also):
        more = [] if also is None else ["--also", also]
        code, out, err = call("bash", HERE / "verify.sh", bundle, "--policy", self.args.policy,
                              "--records", self.args.sample, *more)
        if code == NEWER:
            return code, refused(code, err), {}
        found, verdicts = Counter(), Counter()
        for row in out.splitlines():
            first, *rest = row.split(" ")
            if "/" in first:
                verdicts.update({v.split("=")[0]: int(v.split("=")[1]) for v in rest[1:]})
            elif "." in first:
                found[first] += 1
        if code > 1 or err.strip():
            found[f"error: {err.strip()[-300:]}"] = 1
        return code, dict(found), dict(verdicts)


def words(counts):
    return " ".join(f"{k}={v}" if v != 1 else k for k, v in sorted(counts.items())) or "-"


def compare(want, clean, python, casegate, shell):
    """What is wrong with the three answers to one fault."""
    wrong = []
    if python != casegate:
        wrong.append("python and casegate disagree")
    if shell and (shell[0] != python[0] or not shell_agrees(want, python, shell)):
        wrong.append("the shell disagrees")
    if want is None:
        if python[0] != 0 or python[1]:
            wrong.append("the clean bundle is not clean")
        return wrong
    lacking = set(want["codes"]) - set(python[1])
    looked = want["exit"] != NEWER
    if lacking or python[0] != (want["exit"] if want["sums"] or not looked else 1):
        wrong.append(f"not found: {' '.join(sorted(lacking)) or 'anything'}")
    if looked and want["sums"] == bool(SUMS & set(python[1])):
        wrong.append("SHA256SUMS")
    if want["delta"] is not None:
        before, after = Counter(clean[2]), Counter(python[2])
        delta = {k: after[k] - before[k] for k in before | after if after[k] != before[k]}
        if delta != want["delta"]:
            wrong.append(f"verdicts changed by {delta}, not by {want['delta']}")
    return wrong


def shell_agrees(want, python, shell):
    """The same kinds of findings; where it can see only a part, no other kinds."""
    if want is not None and want["shell"] == "part":
        return set(want["codes"]) <= set(shell[1]) <= set(python[1])
    return set(shell[1]) == set(python[1])


def plant(bundle, name, out, sums):
    more = ["--sums"] if sums else []
    code, text, err = call(sys.executable, HERE / "faults.py", bundle,
                           "--plant", name, "--out", out, *more)
    if code == 3:
        return None
    if code:
        raise RuntimeError(f"{name}: {err}")
    return json.loads(text) | {"sums": sums}


def one(verifiers, bundle, name, sums, clean):
    """One row of the table: (fault, rows, what is wrong), or None."""
    with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
        planted = Path(scratch) / "bundle"
        want = plant(bundle, name, planted, sums)
        if want is None:
            return None
        python, casegate = verifiers.python(planted), verifiers.casegate(planted)
        shell = verifiers.shell(planted, want["also"]) if want["shell"] else None
        return name + ("" if sums else " (old sums)"), (python, casegate, shell), compare(
            want, clean, python, casegate, shell)


def show(name, rows, wrong):
    print(f"{'FAILED' if wrong else 'ok':6} {name}")
    labels = ("python  ", "casegate", "shell   ")
    same = rows[0] == rows[1]
    for label, row in zip(("both    ",) + labels[2:] if same else labels,
                          (rows[0], rows[2]) if same else rows):
        if row:
            print(f"       {label} exit {row[0]}  {words(row[1]):50}  {words(row[2])}")
    for line in wrong:
        print(f"       !! {line}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--policy", required=True)
    parser.add_argument("--casegate", required=True)
    parser.add_argument("--sample", default="60", help="records that the shell looks at")
    parser.add_argument("--only", help="these faults only, with commas; `none` for none")
    parser.add_argument("--quick", action="store_true",
                        help="leave SHA256SUMS as it was for three faults only")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    verifiers = Verifiers(args)
    args.bundle = args.bundle.resolve()
    clean = verifiers.python(args.bundle)
    rows = (clean, verifiers.casegate(args.bundle), verifiers.shell(args.bundle, None))
    wrong = compare(None, None, *rows)
    show("clean bundle", rows, wrong)
    passed, failed = (0, 1) if wrong else (1, 0)
    names = call(sys.executable, HERE / "faults.py", "--list")[1].split()
    if args.only:
        names = [n for n in names if n in args.only.split(",")]
    todo = [(n, True) for n in names]
    todo += [(n, False) for n in (names[:3] if args.quick else names)]
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(lambda t: one(verifiers, args.bundle, *t, clean), todo):
            if row is None:
                continue
            show(*row)
            passed, failed = passed + (not row[2]), failed + bool(row[2])
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
