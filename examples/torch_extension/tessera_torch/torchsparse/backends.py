# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
"""Switches of the whole process, with TorchSparse's names."""

benchmark = False  # no effect
allow_tf32 = False  # of float32 on tensor cores: TorchSparse's default is True, Tessera's is exact
allow_fp16 = True  # no effect
hash_rsv_ratio = 2  # no effect: tables grow as they must


def init() -> None:
    """Nothing to do."""
