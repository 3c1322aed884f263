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
decltype(auto) visit(Compat name, Ask const& ask)
{
  switch (name) {
    case Compat::torchsparse: return ask(TorchSparse{});
    case Compat::spconv: return ask(Spconv{});
    case Compat::spconv1: return ask(Spconv1{});
    case Compat::none: break;
  }
  return ask(Tessera{});
}

}  // namespace rules
}  // namespace v0
}  // namespace tessera
