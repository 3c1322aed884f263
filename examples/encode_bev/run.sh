#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds encode_bev and runs it: on the GPU if there is one, else on the CPU; on the built-in scene if no scan is
# named. Arguments go to the program (`--help` lists them); results go to build/encode_bev/ unless --output says
# otherwise. What is missing on Debian or Ubuntu is installed.
exec "$(dirname "${BASH_SOURCE[0]}")/../support/run.sh" encode_bev "$@"
