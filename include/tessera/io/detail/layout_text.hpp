// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/parameter.hpp>

#include <optional>
#include <string_view>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where a file says its layout, and what its names lost when it was converted.
inline constexpr char const* layout_key = "tessera.layout";
inline constexpr char const* prefix_key = "tessera.prefix";
/// What keys begin with whose texts describe the network; they stay with the weights.
inline constexpr char const* description_prefix = "tessera.network.";

/// What a file in this layout says; empty for a layout of somebody else's.
template <class Layout>
[[nodiscard]] constexpr std::string_view layout_text() noexcept
{
  using io::KrscUnder;
  if (std::is_same_v<Layout, io::Tessera>) { return "tessera"; }
  if (std::is_same_v<Layout, io::TorchSparse>) { return "torchsparse"; }
  if (std::is_same_v<Layout, io::Minkowski>) { return "minkowski"; }
  if (std::is_same_v<Layout, io::Krsc>) { return "krsc"; }
  if (std::is_same_v<Layout, KrscUnder<Compatibility::none>> ||
      std::is_same_v<Layout, KrscUnder<Compatibility::spconv1>>) {
    return "krsc_as_shaped";
  }
  if (std::is_same_v<Layout, io::Rskc>) { return "rskc"; }
  return std::is_same_v<Layout, io::Rsck> ? "rsck" : std::string_view{};
}

/// The layout that the text stands for; nothing if it is none of WeightLayout.
[[nodiscard]] std::optional<io::WeightLayout> layout_of_text(std::string_view text) noexcept;

using Place = io::WeightPlacement (*)(nn::ParameterView const&);

/// Where a file that says `text` has kernels; null if that is no layout of Tessera's.
[[nodiscard]] Place place_of_text(std::string_view text);

}  // namespace detail
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/layout_text_body.hpp>
#endif
