#!/usr/bin/env bash
# Independent verification from end to end: a federation by the casegate binary
# on loopback publishes, retracts, is witnessed and is exported; and a bundle is
# made without casegate. The Python, the shell and casegate's own verifier judge
# both, clean and with every planted fault, and have to agree.
#
#   tests/independent/run.sh [CASEGATE-BINARY]
#
# RECORDS=100000 tests/independent/run.sh   the long form: the clean bundle of a
#     log of at least so many records, the faults on the smaller ones
# PART=selfmade   only the bundle that casegate did not make; PART=federation   only the rest
# SAMPLE=40   records that the shell looks at in each, beside the one that a fault is in
# FAULTS=a,b,c   only these faults in the federation's bundle (`faults.py --list`)
# OUT=DIR   where everything is put (target/independent); PYTHON=python3
#
# Needs Python 3.11 with venv, the network or a pip cache for the packages of
# requirements.txt, openssl, xxd, jq, curl. The last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/independent
out=$(realpath -m "${OUT:-target/independent}")
casegate=$(realpath "${1:-target/release/casegate}")
records=${RECORDS:-0}
sample=${SAMPLE:-40}
python=${PYTHON:-python3}
mkdir -p "$out"

say() { printf '\n-- %s\n' "$*"; }

demo_pid=
finish() {
    [ -z "$demo_pid" ] || { kill -INT "$demo_pid" 2>/dev/null || true; wait "$demo_pid" 2>/dev/null || true; }
}
trap finish EXIT

# A virtual environment with exactly the pinned packages.
environment() {
    local want; want=$(sha256sum "$here/requirements.txt" | cut -c1-64)
    if [ "$(cat "$out/venv/pins" 2>/dev/null)" != "$want" ]; then
        rm -rf "$out/venv"
        "$python" -m venv "$out/venv"
        "$out/venv/bin/pip" --quiet --disable-pip-version-check install \
            --require-hashes --only-binary :all: -r "$here/requirements.txt"
        echo "$want" >"$out/venv/pins"
    fi
    python=$out/venv/bin/python
    export PYTHONDONTWRITEBYTECODE=1
}

# Waits until a condition holds; gives up after so many seconds.
wait_for() { # SECONDS WHAT COMMAND...
    local end=$((SECONDS + $1)) what=$2; shift 2
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for $what" >&2; return 1; }
        sleep 1
    done
}

# Cases for the demo: one file a bureau. The long form repeats the sample under
# other case numbers until hefei's file has as many rows as are asked for.
cases() { # DIR ROWS
    mkdir -p "$1"
    local seed=1
    "$casegate" --json sample --out "$1" --cases 300 >/dev/null
    rm -f "$1/planted.tsv"
    while [ "$(wc -l <"$1/hefei.csv")" -lt "$2" ]; do
        "$casegate" --json sample --out "$out/more" --cases 5000 --seed $((100 + seed)) >/dev/null
        tail -n +2 "$out/more/hefei.csv" | sed "s/^HF-/H$seed-/" >>"$1/hefei.csv"
        seed=$((seed + 1))
    done
    rm -rf "$out/more"
}

hefei() { "$casegate" --lang en --config "$out/demo/hefei/officers/officer.toml" "$@"; }

serves() { grep -q '"casegate.demo/1"' "$out/demo.json" 2>/dev/null || ! kill -0 "$demo_pid" 2>/dev/null; }

exported() { # MEMBER: the auditor exports it into $out/MEMBER.bundle
    rm -rf "$out/$1.bundle" "$out/$1.bundle.partial"
    local code=0
    "$casegate" --json --lang en --config "$out/demo/audit-office/officers/officer.toml" \
        audit export --member "$1" --out "$out/$1.bundle" >"$out/$1.json" 2>"$out/export.log" || code=$?
    [ "$code" -le 1 ]    # 1: a member did not answer with its receipts
}

# The same over HTTPS, with the auditor's certificate and curl.
over_https() {
    local port officer=$out/demo/audit-office/officers/officer
    port=$(sed -n 's/^audit = "\(.*\)"/\1/p' "$out/demo/hefei/node.toml")
    curl --silent --fail --insecure --cert "$officer.pem" --key "$officer.key" \
        "https://$port/demo.example/hefei/records/1/checkpoint" >"$out/checkpoint" || return 1
    [ "$(head -1 "$out/checkpoint")" = demo.example/hefei/records/1 ]
}

# A bundle of hefei with receipts and enough witnessed checkpoints.
whole() {
    exported hefei || return 1
    compgen -G "$out/hefei.bundle/receipts/*.entry" >/dev/null &&
        [ "$(ls "$out"/hefei.bundle/records/1/checkpoints 2>/dev/null | wc -l)" -ge 2 ]
}

federation() {
    say "a federation of casegate nodes"
    rm -rf "${out:?}/demo" "$out/cases"; cases "$out/cases" "$records"
    "$casegate" --json --lang en demo --keep --dir "$out/demo" --data "$out/cases" \
        >"$out/demo.json" 2>"$out/demo.log" &
    demo_pid=$!
    wait_for "$((600 + records / 20))" "the demo" serves
    kill -0 "$demo_pid" 2>/dev/null || { tail -5 "$out/demo.log" >&2; return 1; }
    hefei --json publish --case AUDIT-1 --category loan --element 'phone:154 0000 1234' \
        --role suspect --offence fraud --reason 'independent verification' >/dev/null
    hefei --json query --case AUDIT-1 --offence fraud --reason 'independent verification' >/dev/null || true
    hefei --json case retract AUDIT-1 --why mistake >/dev/null
    wait_for 180 "receipts and witnesses" whole
    printf 'federation = "%s"\nroster_pin = "%s"\n' \
        "$(sed -n 's/^federation = "\(.*\)"/\1/p' "$out/demo/hefei/officers/officer.toml")" \
        "$(sed -n 's/^pin = "\(.*\)"/\1/p' "$out/demo/hefei/officers/officer.toml")" >"$out/policy.toml"
    for member in wuhu province; do exported "$member"; done
}

passed=0 failed=0
agree() { # WHAT BUNDLE POLICY MORE...
    local name=$1 bundle=$2 policy=$3 last; shift 3
    say "$name"
    "$python" "$here/agree.py" "$bundle" --policy "$policy" --casegate "$casegate" "$@" |
        tee "$out/agree.txt" || true
    last=$(tail -1 "$out/agree.txt")
    [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] || last="0 passed, 1 failed"
    [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]
    passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
}

# What README tells an auditor to type, on the bundle that was just exported.
by_hand() {
    say "by hand"
    local pin; pin=$(sed -n 's/^roster_pin = "\(.*\)"/\1/p' "$out/policy.toml")
    if bash "$here/by_hand.sh" "$out/hefei.bundle" "$pin" && over_https; then passed=$((passed + 1))
    else failed=$((failed + 1)); fi
}

environment
part=${PART:-all}
if [ "$part" != federation ]; then
    say "a bundle that casegate did not make"
    rm -rf "$out/selfmade"; "$python" "$here/make.py" --out "$out/selfmade"
    agree "its faults" "$out/selfmade/bundle" "$out/selfmade/policy.toml" --quick --sample "$sample"
fi
if [ "$part" = selfmade ]; then
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" = 0 ]; exit
fi
federation
if [ "$records" -gt 0 ]; then
    agree "the clean bundle of a log of $records records" "$out/hefei.bundle" "$out/policy.toml" \
        --only none --sample "$sample"0
    "$python" "$here/make.py" --out "$out/selfmade" --records "$records" --access 2000
    agree "$records records that casegate did not make" "$out/selfmade/bundle" \
        "$out/selfmade/policy.toml" --only none --sample "$sample"0
else
    agree "hefei's bundle and its faults" "$out/hefei.bundle" "$out/policy.toml" --quick --sample "$sample" \
        ${FAULTS:+--only "$FAULTS"}
fi
for member in wuhu province; do
    agree "$member's bundle" "$out/$member.bundle" "$out/policy.toml" --only none --sample "$sample"
done
by_hand
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
