#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   examples/torch_extension/test.sh [environment]
#
# Installs tessera_torch as install.sh does, for the CPU unless there is a GPU, and runs its tests; the last line is
# `N passed, N failed, N skipped`. Skipped as a whole where PyTorch cannot be installed.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
. tests/support/setup.sh
environment=${1:-$PWD/build/torch_extension/environment}

stop() {
  say "$*"
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

set_up || stop "the set-up failed"
python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || stop "there is no venv to be had"
if [ ! -x "$environment/bin/python" ]; then
  python3 -m venv "$environment" || stop "there is no Python environment to be had"
  if ! "$environment/bin/pip" download -q --no-deps -d "$environment/wheels" torch; then
    echo "skipped: the PyTorch extension: PyTorch cannot be installed"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
  rm -rf "$environment/wheels"
fi
if ! { have nvidia-smi && nvidia-smi -L 2>/dev/null | grep -q GPU; }; then export TESSERA_TORCH_CUDA=${TESSERA_TORCH_CUDA:-OFF}; fi
export CMAKE_BUILD_PARALLEL_LEVEL=$jobs
examples/torch_extension/install.sh "$environment" >&2 || stop "the installation failed"
"$environment/bin/pip" install -q safetensors >&2 || say "no safetensors: what needs it is skipped"
# Of mmdetection3d the Python alone, which needs none of mmcv's compiled operators to build encoders.
"$environment/bin/pip" install -q --no-deps mmdet3d==1.4.0 mmdet==3.3.0 mmcv-lite==2.1.0 mmengine addict termcolor rich yapf \
  platformdirs pyyaml opencv-python-headless pillow packaging pygments markdown-it-py mdurl >&2 ||
  say "no mmdetection3d: its tests are skipped"

# The sources against the headers of the oldest PyTorch that is promised.
oldest=2.10.0
headers=$PWD/build/torch_extension/torch-$oldest
if [ ! -d "$headers/torch" ] && "$environment/bin/pip" download -q --no-deps -d "$headers" "torch==$oldest"; then
  "$environment/bin/python" -c 'import sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
wheel.extractall(sys.argv[2], [name for name in wheel.namelist() if name.startswith("torch/include/torch/")])' \
    "$headers"/torch-*.whl "$headers" && rm "$headers"/torch-*.whl
fi
if [ -d "$headers/torch" ]; then
  for source in examples/torch_extension/*.cpp; do
    "${CXX:-c++}" -std=c++17 -w -fsyntax-only -Iinclude -isystem "$headers/torch/include" -DUSE_CUDA \
      -DTORCH_TARGET_VERSION=0x020a000000000000 "$source" >&2 || stop "$source does not compile with PyTorch $oldest"
  done
else
  say "no PyTorch $oldest: nothing is compiled with it"
fi

program=$PWD/build/torch_extension/cpp_layers
"${CXX:-c++}" -std=c++17 -O3 -DNDEBUG -Iinclude -pthread examples/torch_extension/test/cpp_layers.cpp -o "$program" >&2 ||
  stop "the build of cpp_layers failed"
export TESSERA_TORCH_CPP_LAYERS=$program
cd examples/torch_extension/test && exec "$environment/bin/python" -B run.py
