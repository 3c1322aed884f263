#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Builds train_segmentation and runs it: on the GPU if there is one, else on the CPU; on simulated scenes unless a folder of
# SemanticKITTI is named. Arguments go to the program (`--help` lists them); results go to build/train_segmentation/ unless
# --output says otherwise. What is missing on Debian or Ubuntu is installed.
exec "$(dirname "${BASH_SOURCE[0]}")/../support/run.sh" train_segmentation "$@"
