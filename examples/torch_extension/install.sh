#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   examples/torch_extension/install.sh [environment]
#
# Makes a Python environment (build/torch_extension/environment) with PyTorch and tessera_torch in it, or adds to one what is
# missing. TESSERA_TORCH_CUDA=ON or OFF says whether the operators for GPUs are compiled; without it they are where there is
# nvcc, which takes much longer.
set -eu
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$folder/../.." && pwd)
environment=${1:-$root/build/torch_extension/environment}

[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
python=$environment/bin/python
pip() { "$python" -m pip install --quiet --disable-pip-version-check "$@"; }
has_torch() { "$python" -c 'import torch' 2>/dev/null; }

if ! has_torch; then
  # A PyTorch for CUDA names 3 GB of libraries. Beside a CUDA toolkit it imports with a fifth of them; elsewhere it gets all.
  if ls /usr/local/cuda/lib64/libcublas.so.* >/dev/null 2>&1; then
    pip --no-deps torch typing_extensions sympy mpmath networkx jinja2 markupsafe filelock fsspec numpy 'setuptools>=77'
    "$python" - >"$environment/libraries.txt" <<'PYTHON'
import importlib.metadata as metadata
import re

for requirement in metadata.requires("torch") or []:
    if re.match(r"nvidia-(nccl|cusparselt|nvshmem)", requirement):
        print(requirement.split(";")[0])
print("nvidia-cufile\nnvidia-cuda-cupti")
PYTHON
    pip --no-deps -r "$environment/libraries.txt" || true
  fi
  has_torch || pip torch numpy
fi
pip 'scikit-build-core>=0.10' pathspec packaging
# The environment's own PyTorch is what is built against; the library then serves every later one.
pip --no-build-isolation --no-deps --force-reinstall \
  -C cmake.define.TESSERA_TORCH_CUDA="${TESSERA_TORCH_CUDA:-AUTO}" "$folder"
"$python" -c 'import torch, tessera_torch; print("tessera_torch is installed, with PyTorch", torch.__version__)'
