// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <type_traits>

namespace tessera {
inline namespace v0 {

/// Memory and processor of the CPU: portable C++17 and threads.
struct Host {
  static constexpr char const* name = "Host";
};

/// Memory and processor of the current CUDA device.
struct Device {
  static constexpr char const* name = "Device";
};

/// Whether `Space` is one of the two spaces.
template <class Space>
struct is_space : std::disjunction<std::is_same<Space, Host>, std::is_same<Space, Device>> {};

}  // namespace v0
}  // namespace tessera
