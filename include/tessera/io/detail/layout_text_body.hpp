// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/io/detail/layout_text.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/kmap/policies.hpp>

#include <optional>
#include <string_view>

namespace tessera {
inline namespace v0 {
namespace detail {

TESSERA_INLINE std::optional<io::WeightLayout> layout_of_text(std::string_view text) noexcept
{
  using io::WeightLayout;
  for (auto const layout :
       {WeightLayout::tessera, WeightLayout::torchsparse, WeightLayout::minkowski, WeightLayout::krsc,
        WeightLayout::rskc, WeightLayout::rsck, WeightLayout::flexgemm}) {
    if (text == name_of(layout)) { return layout; }
  }
  return std::nullopt;
}

TESSERA_INLINE Place place_of_text(std::string_view text)
{
  if (text == layout_text<io::KrscUnder<Compatibility::none>>()) {
    return &io::KrscUnder<Compatibility::none>::place;
  }
  auto const layout = layout_of_text(text);
  if (!layout) { return nullptr; }
  return io::with_layout(*layout, [](auto type) -> Place { return &decltype(type)::place; });
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
