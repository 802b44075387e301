#!/usr/bin/env bash
# Runs what README.md tells an auditor to type ("Checking it by hand") in a copy
# of a bundle, whose log has at least 256 records, and looks at what it prints.
#
#   by_hand.sh BUNDLE PIN
set -euo pipefail
readme=$(dirname "$(realpath "$0")")/../../README.md
bundle=$(realpath "${1:?a bundle}")
pin=${2:?the digest of roster 1}
tmp=$(mktemp -d); trap 'rm -rf "$tmp"' EXIT
cp -r "$bundle" "$tmp/bundle"
sed -n '/^<!-- tests\/independent\/by_hand.sh/,/^```$/p' "$readme" | sed '/^<!--/d; /^```/d' >"$tmp/lines"
[ -s "$tmp/lines" ] || { echo "README.md has no such lines"; exit 1; }
(cd "$tmp/bundle" && bash -e "$tmp/lines") >"$tmp/said" || { cat "$tmp/said"; exit 1; }
cat "$tmp/said"
for want in "$pin" "Signature Verified Successfully" "the leaf is in the tree" \
    "the body is the one that was signed"; do
    grep -q "$want" "$tmp/said" || { echo "not said: $want"; exit 1; }
done
