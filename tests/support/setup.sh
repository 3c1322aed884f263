# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
# Sourced by the scripts that build: finds the tools, installs those that are missing with apt-get, and sets
#   CMAKE_GENERATOR, PATH          for cmake
#   jobs                           compilations at once: one for each core and each 2 GiB of memory
#   configuration                  CMake options: build for the GPU of this machine if there is one
# Arguments: Debian packages needed besides a compiler, CMake and Ninja, as <package>:<file that it brings>.

say() { printf '%s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; } # at_least 3.22 <version>
cmake_version() { cmake --version 2>/dev/null | sed -n 's/^cmake version //p'; }

install_packages() {
  if ! have apt-get; then
    say "Please install: $* (this script can do so only where there is apt-get)"
    return 1
  fi
  local root=()
  if [ "$(id -u)" -ne 0 ]; then
    have sudo || { say "Please install, as root: apt-get install $*"; return 1; }
    root=(sudo)
  fi
  say "Installing $*"
  "${root[@]}" apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

set_up() {
  [ -x /usr/local/cuda/bin/nvcc ] && ! have nvcc && PATH="$PATH:/usr/local/cuda/bin"

  local missing=() package
  have "${CXX:-c++}" || missing+=(g++)
  have cmake || missing+=(cmake)
  have ninja || missing+=(ninja-build)
  for package in "$@"; do
    [ -e "${package#*:}" ] || missing+=("${package%%:*}")
  done
  if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}" || return 1; fi

  if ! at_least 3.22 "$(cmake_version)"; then # Ubuntu 20.04 has 3.16
    local tools="$PWD/build/tools"
    if [ ! -x "$tools/bin/cmake" ]; then
      say "CMake $(cmake_version) is older than 3.22; taking one from PyPI into build/tools"
      python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv || return 1
      python3 -m venv "$tools" && "$tools/bin/pip" install -q 'cmake>=3.22,<4' >&2 || return 1
    fi
    PATH="$tools/bin:$PATH"
  fi
  export PATH CMAKE_GENERATOR=Ninja

  jobs=$(nproc)
  local gigabytes
  gigabytes=$(awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo)
  if [ "$jobs" -gt $((gigabytes / 2)) ]; then jobs=$((gigabytes / 2 > 0 ? gigabytes / 2 : 1)); fi

  configuration=()
  if have nvidia-smi && nvidia-smi -L 2>/dev/null | grep -q GPU; then
    configuration+=(-DCMAKE_CUDA_ARCHITECTURES=native)
    have nvcc || say "There is a GPU but no nvcc: building for the CPU. Install the CUDA Toolkit 12.0 or newer to use it."
  fi
}
