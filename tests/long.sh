#!/usr/bin/env bash
# The long form of the slow suites: two nodes converge at 100,000 records after
# the link between them is cut twice, and after both are restarted.
set -euo pipefail
cd "$(dirname "$0")/.."
CASEGATE_LONG=1 cargo test --release --test it -- exchange::replicas_converge "$@"
