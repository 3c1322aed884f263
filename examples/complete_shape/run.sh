#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds complete_shape and runs it: on the GPU if there is one, else on the CPU. Arguments go to the program (`--help`
# lists them); results go to build/complete_shape/ unless --output says otherwise. What is missing on Debian or Ubuntu is
# installed.
exec "$(dirname "${BASH_SOURCE[0]}")/../support/run.sh" complete_shape "$@"
