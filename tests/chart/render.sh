#!/usr/bin/env bash
# render.sh SET: what the chart makes of tests/chart/SET.values.yaml. `make chart-golden` writes it
# to SET.golden.yaml, and a test compares.
set -euo pipefail
cd "$(dirname "$0")/../.."
helm=$(tests/cluster/helm.sh)
# Without the empty document at the end of which Helm makes a line.
"$helm" template tcpforward charts/tcpforward --namespace tcpforward-system \
  --values "tests/chart/$1.values.yaml"
