// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <type_traits>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Body, int... Indices>
void visit_index(int index, Body const& body, std::integer_sequence<int, Indices...>)
{
  static_cast<void>((... || (Indices == index && (body(std::integral_constant<int, Indices>{}), true))));
}

/// Calls `body(std::integral_constant<int, index>{})` for an index of [0, Count).
template <int Count, class Body>
void visit_index(int index, Body const& body)
{
  visit_index(index, body, std::make_integer_sequence<int, Count>{});
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
