#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   kill_test.sh <number of scans> <seed> <arguments of label_scans>...
#
# For test.cmake: runs `label_scans <arguments> --output killed`, kills it at random three times and starts it again.
# Prints how many scans the killed runs had noted.
set -eu
scans=$1
RANDOM=$2
shift 2
manifest=killed/manifest/shard-0-of-1.jsonl

lines() { cat "$manifest" 2>/dev/null | grep -c '"status": "done"' || true; }

for round in 1 2 3; do
  before=$(lines)
  target=$((before + 1 + RANDOM % (scans / 5)))
  "$@" --output killed >"killed.$round.log" 2>&1 &
  worker=$!
  while kill -0 "$worker" 2>/dev/null && [ "$(lines)" -lt "$target" ]; do sleep 0.05; done
  if ! kill -KILL "$worker" 2>/dev/null; then
    echo "run $round ended by itself" >&2
    exit 1
  fi
  status=0
  wait "$worker" 2>/dev/null || status=$?
  echo "killed after $(lines) of $scans scans, exit status $status"
  [ "$status" -eq 137 ]
done
