#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds convert_checkpoint and runs it. Arguments go to the program: the checkpoint, the file to write, and options
# (`--help` lists them). It needs no GPU. What is missing on Debian or Ubuntu is installed.
exec "$(dirname "${BASH_SOURCE[0]}")/../support/run.sh" convert_checkpoint "$@"
