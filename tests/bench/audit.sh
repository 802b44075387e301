#!/usr/bin/env bash
# Times `casegate audit verify` on a bundle of RECORDS records (a million), with
# its peak memory, beside plain verification of as many signatures.
#
#   tests/bench/audit.sh [RECORDS]
#
# Needs GNU time, and about 1.6 GB of disk for a million records.
set -euo pipefail
cd "$(dirname "$0")/../.."
records=${1:-1000000}
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cargo build --locked --release --bin casegate --example audit_bundle
echo "made, and the reference: $(target/release/examples/audit_bundle "$dir" "$records")"
echo "bundle: $(du -sh "$dir/bundle" | cut -f1) in $(find "$dir/bundle" -type f | wc -l) files"
/usr/bin/time -f 'verify: %e s wall, %U s user, %S s system, %M KiB peak' \
    target/release/casegate audit verify "$dir/bundle" --policy "$dir/policy.toml"
