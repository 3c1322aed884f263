// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/kmap/compatibility.hpp>
#include <tessera/kmap/rules/spconv.hpp>
#include <tessera/kmap/rules/tessera.hpp>
#include <tessera/kmap/rules/torchsparse.hpp>

namespace tessera {
inline namespace v0 {
namespace rules {

/// `ask(bundle)` with the bundle of that name; all bundles must give one type of answer.
template <class Ask>
decltype(auto) visit(Compatibility name, Ask const& ask)
{
  switch (name) {
    case Compatibility::torchsparse: return ask(TorchSparse{});
    case Compatibility::spconv: return ask(Spconv{});
    case Compatibility::spconv1: return ask(Spconv1{});
    case Compatibility::none: break;
  }
  return ask(Tessera{});
}

}  // namespace rules
}  // namespace v0
}  // namespace tessera
