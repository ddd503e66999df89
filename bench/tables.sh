#!/usr/bin/env bash
# Measures Livegate's tables: beside dynalite (npm) and an empty net/http handler,
# and as they grow. Linux with Go, Node.js and npm; taskset for the pinning.
#
#   bench/tables.sh [compare] [flags]   put, get and query with 8 and 64 connections, about six minutes
#   bench/tables.sh grow [flags]        10 thousand to 5 million items, about half an hour and 4 GB
#
#   LIVEGATE=bin/livegate   the program; built when it is not there
#   SCRATCH=bench/.cache    where data goes: the disk that is measured, so not a tmpfs
#   RESULTS=bench/results   where raw results go
#   PIN=1                   servers on processor 0, generator on 1; PIN=0 lets the system decide
#
# Flags: -rounds 5 -time 2s -connections 8,64 -busiest 0.2 -sizes 10000,…
#
# "livegate" is `livegate dev`, durable: an answer means that it is on disk. "fast" are
# the same tables without waiting for the disk, alone on net/http. dynalite keeps
# everything in memory and never syncs. All get the same requests from the same
# client, each in a fresh process with 20 000 items, in another order each round.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$PWD/bench/.cache
results=${RESULTS:-$PWD/bench/results}
livegate=$(realpath -m "${LIVEGATE:-bin/livegate}")
scratch=${SCRATCH:-$cache}
mkdir -p "$cache/dynalite" "$results" "$scratch"
[ -x "$livegate" ] || go build -trimpath -ldflags "-s -w" -o "$livegate" ./cmd/livegate
go build -o "$cache/tables" ./bench/tables

mode=compare
case ${1:-} in compare | grow) mode=$1; shift ;; esac
where=(-livegate "$livegate" -template "$PWD/bench/tables/template.yaml" -scratch "$scratch" -out "$results/$(date -u +%FT%H%M)-tables-$mode.jsonl")
on=()
if [ "${PIN:-1}" = 1 ] && [ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] && command -v taskset >/dev/null; then
  on=(taskset -c 1)
else
  where+=(-server-cpu "")
fi
if [ "$mode" = compare ]; then
  cp bench/tables/package.json "$cache/dynalite/"
  [ -d "$cache/dynalite/node_modules/dynalite" ] || npm --prefix "$cache/dynalite" install --no-audit --no-fund --loglevel=error
  where+=(-dynalite "$cache/dynalite")
fi
exec "${on[@]}" "$cache/tables" "$mode" "${where[@]}" "$@"
