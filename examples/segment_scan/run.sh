#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds segment_scan and runs it: on the GPU if there is one, else on the CPU; on the built-in scene if no scan is
# named. Arguments go to the program (`--help` lists them); results go to build/segment_scan/ unless --output says
# otherwise. What is missing on Debian or Ubuntu is installed.
exec "$(dirname "${BASH_SOURCE[0]}")/../support/run.sh" segment_scan "$@"
