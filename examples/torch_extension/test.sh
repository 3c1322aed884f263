#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#   examples/torch_extension/test.sh [environment]
#
# Installs tessera_torch as install.sh does, for the CPU unless there is a GPU, and runs its tests, then some of them with the
# same library in the oldest PyTorch; the last line is `N passed, N failed, N skipped`. Skipped as a whole where PyTorch
# cannot be installed.
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

# The oldest PyTorch that is promised: its headers, and below the library that was built with the newest one.
oldest=2.10.0
older=$PWD/build/torch_extension/torch-$oldest
older_imports() { CUDA_VISIBLE_DEVICES='' "$older/bin/python" -c "import torch; assert torch.__version__.startswith('$oldest')" 2>&1; }
if [ ! -x "$older/bin/python" ] || ! older_imports >/dev/null; then
  rm -rf "$older"
  python3 -m venv "$older" || stop "there is no Python environment to be had"
  if "$older/bin/pip" install -q --no-deps "torch==$oldest" typing_extensions sympy mpmath networkx jinja2 markupsafe \
    filelock fsspec numpy setuptools >&2; then
    # Of CUDA what is called while PyTorch is loaded; for the rest there are stand-ins.
    "$older/bin/pip" install -q --no-deps nvidia-cuda-runtime-cu12 nvidia-cuda-cupti-cu12 >&2
    "$environment/bin/python" examples/torch_extension/test/stand_ins.py "$older" >&2
  fi
fi
why=$(older_imports) && why=""
headers=$(echo "$older"/lib/python3*/site-packages/torch/include)
if [ -d "$headers/torch" ]; then
  for source in examples/torch_extension/*.cpp; do
    "${CXX:-c++}" -std=c++17 -w -fsyntax-only -Iinclude -isystem "$headers" -DUSE_CUDA \
      -DTORCH_TARGET_VERSION=0x020a000000000000 "$source" >&2 || stop "$source does not compile with PyTorch $oldest"
  done
else
  say "no PyTorch $oldest: nothing is compiled with it"
fi

program=$PWD/build/torch_extension/cpp_layers
"${CXX:-c++}" -std=c++17 -O3 -DNDEBUG -Iinclude -pthread examples/torch_extension/test/cpp_layers.cpp -o "$program" >&2 ||
  stop "the build of cpp_layers failed"
export TESSERA_TORCH_CPP_LAYERS=$program
cd examples/torch_extension/test || exit 1

passed=0 failed=0 skipped=0
# count <command>...: adds up its last line.
count() {
  local status log sum
  log=$(mktemp)
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  read -ra sum <<<"$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | tail -n 1)"
  rm -f "$log"
  if [ ${#sum[@]} -ne 6 ]; then sum=(0 x 1 x 0 x); fi
  if [ "$status" -ne 0 ] && [ "${sum[2]}" -eq 0 ]; then sum[2]=1; fi
  ((passed += sum[0], failed += sum[2], skipped += sum[4]))
}

count "$environment/bin/python" -B run.py
if [ -z "$why" ]; then
  library=$(echo "$environment"/lib/python3*/site-packages/tessera_torch/libtessera_torch.*)
  PYTHONPATH=$PWD/.. TESSERA_TORCH_LIBRARY=$library CUDA_VISIBLE_DEVICES='' count "$older/bin/python" -B run.py \
    test_ops.py test_errors.py test_registrations.py test_spconv_layers.py test_training.py test_export.py
else
  echo "skipped: the library in PyTorch $oldest, which cannot be installed: ${why##*$'\n'}"
  ((skipped += 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
