// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>

namespace tessera {
inline namespace v0 {

/// Whose rules a coordinate set and its maps follow where libraries differ: the name of a bundle of
/// `kmap/rules/`. docs/compatibility.md lists every difference.
enum class Compatibility : std::uint8_t {
  none,         ///< Tessera's own: nothing is lost, every option acts
  torchsparse,  ///< TorchSparse 2.1's sets and maps, bit for bit
  spconv,       ///< spconv 2.3's layers with their faults
  spconv1,      ///< spconv 1's: a submanifold kernel's anchor leaves the dilation out
};

namespace compat {
inline constexpr Compatibility none = Compatibility::none;
inline constexpr Compatibility torchsparse = Compatibility::torchsparse;
inline constexpr Compatibility spconv = Compatibility::spconv;
inline constexpr Compatibility spconv1 = Compatibility::spconv1;
}  // namespace compat

}  // namespace v0
}  // namespace tessera
