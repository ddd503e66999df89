#!/usr/bin/env bash
# Measures Livegate beside its peers and on its own. bench/README.md says what and
# how to read it. Linux with Go; gcc for the floor; Node.js and npm for echo and
# startup; taskset for the pinning.
#
#   bench/run.sh [echo|startup]...     both without an argument
#   bench/run.sh engine [--quick] [flags of wsload engine]
#   bench/run.sh faults slow|halfopen|churn|overload|fd|all [DURATION]
#   bench/run.sh table FILE            the goals table of an earlier engine run
#   bench/run.sh peers                 install what engine compares with (apt, npm, go)
#
#   LIVEGATE=bin/livegate  the program to measure; built when it is not there
#   RESULTS=bench/results  where raw results go
#   PIN=1                  servers on processor 0, generator on 1; PIN=0 lets the system decide
#   ROUNDS=5               rounds of echo and engine
#   RUNS=10                runs of startup
#   CONNECTIONS=32 TIME=5s WARM=5s     echo
#   BOUND=60s              faults halfopen: what the server promises
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/bench
cache=$here/.cache
results=${RESULTS:-$here/results}
livegate=$(realpath -m "${LIVEGATE:-bin/livegate}")
today=$(date -u +%F)

# Pinned to versions that were measured; NATS and Centrifugo are taken from the Go proxy.
nats=github.com/nats-io/nats-server/v2@v2.15.2
centrifugo=github.com/centrifugal/centrifugo/v6@v6.9.1

prepare() {
  mkdir -p "$cache/logs" "$cache/bin" "$results"
  [ -x "$livegate" ] || go build -trimpath -ldflags "-s -w" -o "$livegate" ./cmd/livegate
  go build -o "$cache/wsload" ./bench/wsload
}

pinned() { [ "${PIN:-1}" = 1 ] && [ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] && command -v taskset >/dev/null; }

bench_echo() {
  mkdir -p "$cache/livegate" "$cache/serverless-offline"
  cp "$here"/echo/{handler.js,template.yaml} "$cache/livegate/"
  cp "$here"/echo/{handler.js,serverless.yml,package.json} "$cache/serverless-offline/"
  if [ ! -x "$cache/serverless-offline/node_modules/.bin/serverless" ]; then
    echo "installing serverless and serverless-offline into bench/.cache"
    npm --prefix "$cache/serverless-offline" install --no-audit --no-fund --loglevel=error
  fi
  local on=() cpu=""
  if pinned; then
    on=(taskset -c 1) cpu=0
  fi
  "${on[@]}" "$cache/wsload" echo -livegate "$livegate" -app "$cache/livegate" -peer "$cache/serverless-offline" \
    -logs "$cache/logs" -server-cpu "$cpu" -rounds "${ROUNDS:-5}" -n "${CONNECTIONS:-32}" \
    -warm "${WARM:-5s}" -time "${TIME:-5s}" -out "$results/$today-echo.jsonl"
}

bench_startup() {
  "$cache/wsload" startup -livegate "$livegate" -app examples/chat -runs "${RUNS:-10}" -out "$results/$today-startup.jsonl"
}

# What engine and faults have in common.
common() {
  where=(-livegate "$livegate" -apps "$here/engine" -peer-files "$here/peers" -cache "$cache" -results "$results")
  pinned || where+=(-server-cpu "" -generator-cpu "")
}

bench_engine() {
  common
  if command -v gcc >/dev/null; then
    gcc -O2 -o "$cache/bin/floor" "$here/floor/floor.c"
  else
    rm -f "$cache/bin/floor"
    echo "gcc is not installed: no floor, so goals that are ratios to it get no verdict" >&2
  fi
  "$cache/wsload" engine "${where[@]}" -rounds "${ROUNDS:-5}" "$@"
}

bench_faults() {
  local name=${1:-} time=${2:-0}
  [ "$name" != all ] || name="overload fd halfopen slow churn"
  [ -n "$name" ] || { echo "bench/run.sh faults: which one? slow, halfopen, churn, overload, fd or all" >&2; exit 2; }
  common
  # shellcheck disable=SC2086 # one word for each fault
  "$cache/wsload" faults "${where[@]}" -time "$time" -bound "${BOUND:-60s}" $name
}

# Each peer is optional: what cannot be installed is named, and left out of runs.
install_peers() {
  mkdir -p "$cache/bin" "$cache/ws"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo"
  if command -v apt-get >/dev/null; then
    $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq nginx libnginx-mod-nchan haproxy >/dev/null ||
      echo "nginx, Nchan and haproxy could not be installed"
  else
    echo "no apt-get: install nginx, its Nchan module and haproxy yourself"
  fi
  cp "$here"/peers/{ws.js,package.json} "$cache/ws/"
  npm --prefix "$cache/ws" install --no-audit --no-fund --loglevel=error || echo "ws could not be installed"
  GOBIN=$cache/bin go install "$nats" || echo "nats-server could not be installed"
  GOBIN=$cache/bin go install "$centrifugo" || echo "centrifugo could not be installed: put the program of a release into bench/.cache/bin"
}

[ $# -gt 0 ] || set -- echo startup
case $1 in
  engine | faults) prepare; "bench_$1" "${@:2}" ;;
  peers) install_peers ;;
  table) mkdir -p "$cache"; go build -o "$cache/wsload" ./bench/wsload; "$cache/wsload" table "${@:2}" ;;
  *)
    for what in "$@"; do
      case $what in
        echo | startup) prepare; "bench_$what" ;;
        *) echo "bench/run.sh: no benchmark is called $what; there are echo, startup, engine, faults, table and peers" >&2; exit 2 ;;
      esac
    done ;;
esac
