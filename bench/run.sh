#!/usr/bin/env bash
# Measures Livegate beside its peer and on its own. bench/README.md says what and
# how to read it. Linux with Go, Node.js, npm and, for the default pinning, taskset.
#
#   bench/run.sh [echo|startup]...     both without an argument
#
#   LIVEGATE=bin/livegate  the program to measure; built when it is not there
#   ROUNDS=5 RUNS=10       rounds of echo, runs of startup
#   CONNECTIONS=32 TIME=5s WARM=5s
#   PIN=1                  echo: servers on processor 0, generator on 1; PIN=0 lets the system decide
#   RESULTS=bench/results  where raw results go
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/bench
cache=$here/.cache
results=${RESULTS:-$here/results}
livegate=$(realpath -m "${LIVEGATE:-bin/livegate}")
today=$(date -u +%F)
mkdir -p "$cache/logs" "$cache/livegate" "$cache/serverless-offline" "$results"

[ -x "$livegate" ] || go build -trimpath -ldflags "-s -w" -o "$livegate" ./cmd/livegate
go build -o "$cache/wsload" ./bench/wsload

bench_echo() {
  cp "$here"/echo/{handler.js,template.yaml} "$cache/livegate/"
  cp "$here"/echo/{handler.js,serverless.yml,package.json} "$cache/serverless-offline/"
  if [ ! -x "$cache/serverless-offline/node_modules/.bin/serverless" ]; then
    echo "installing serverless and serverless-offline into bench/.cache"
    npm --prefix "$cache/serverless-offline" install --no-audit --no-fund --loglevel=error
  fi
  local on=() cpu=""
  if [ "${PIN:-1}" = 1 ] && [ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] && command -v taskset >/dev/null; then
    on=(taskset -c 1) cpu=0
  fi
  "${on[@]}" "$cache/wsload" echo -livegate "$livegate" -app "$cache/livegate" -peer "$cache/serverless-offline" \
    -logs "$cache/logs" -server-cpu "$cpu" -rounds "${ROUNDS:-5}" -n "${CONNECTIONS:-32}" \
    -warm "${WARM:-5s}" -time "${TIME:-5s}" -out "$results/$today-echo.jsonl"
}

bench_startup() {
  "$cache/wsload" startup -livegate "$livegate" -app examples/chat -runs "${RUNS:-10}" -out "$results/$today-startup.jsonl"
}

[ $# -gt 0 ] || set -- echo startup
for what in "$@"; do
  case $what in
    echo | startup) "bench_$what" ;;
    *) echo "bench/run.sh: no benchmark is called $what; there are echo and startup" >&2; exit 2 ;;
  esac
done
