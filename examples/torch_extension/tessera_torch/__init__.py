# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Tessera's sparse convolutions in PyTorch."""
