// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/module.hpp>
#include <tessera/ops/row_statistics.hpp>

namespace tessera {
inline namespace v0 {
namespace nn {

/// A layer that can normalise by the rows of all processes: BatchNorm, and layers of one's own that derive from
/// this besides their module.
template <class Space>
class Synchronizable {
 public:
  virtual ~Synchronizable() = default;

  /// From here on training normalises by the rows of all processes; null: of this one. The exchange must
  /// outlive the layer's use and what records it. Every process calls the same layers in the same order.
  virtual void synchronize(ops::RowExchange<Space>* exchange) noexcept = 0;
};

/// Has every batch normalisation of a network normalise by the rows of all processes in training; null: by
/// those of this one again.
/// @returns how many there are
/// Cost: visits the modules.
/// Stream: enqueues nothing.
/// Determinism: ranks have the same statistics, bit by bit.
template <class Space>
int synchronize(ModuleBase& network, ops::RowExchange<Space>* exchange)
{
  int layers = 0;
  if (auto* const layer = dynamic_cast<Synchronizable<Space>*>(&network); layer != nullptr) {
    layer->synchronize(exchange);
    ++layers;
  }
  for (auto const& [name, child] : network.children()) { layers += synchronize(*child, exchange); }
  return layers;
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
