#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   run_script.sh <cmake> <arguments>...
#
# Runs a CMake script as a test: exits with 77 where the script called skip() of skip.cmake and succeeded, else with the
# script's own status. `cmake -P` cannot choose one, and what is printed is no proof: programs print what they like.
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
cmake=$1
shift
"$cmake" "-DSKIP_MARK=$folder/skipped" "$@"
status=$?
if [ $status -eq 77 ]; then status=1; fi
if [ $status -eq 0 ] && [ -e "$folder/skipped" ]; then status=77; fi
exit $status
