// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/coords/coordinate_set.hpp>
#include <tessera/kmap/geometry.hpp>
#include <tessera/kmap/kernel_map.hpp>

#include <memory>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A layer that led from the origin of a set to the set. The set keeps its producers, so that a layer which
/// undoes one of them finds it by the kernel size, without a name that users would have to choose.
template <int Dim, class Space>
struct ProducerLayer {
  ConvolutionGeometry<Dim> geometry;
  std::shared_ptr<KernelMap<Space>> map;  // from the origin to the set
};

template <int Dim, class Space>
struct ProducerLayersKey {
  using Value = std::vector<ProducerLayer<Dim, Space>>;
  friend bool operator==(ProducerLayersKey, ProducerLayersKey) { return true; }
};

template <int Dim, class Space>
[[nodiscard]] std::vector<ProducerLayer<Dim, Space>>& producers_of(CoordinateSet<Dim, Space>& set)
{
  using Key = ProducerLayersKey<Dim, Space>;
  return *access(set).cache().get_or_make(Key{}, [] { return std::make_shared<typename Key::Value>(); });
}

template <int Dim, class Space>
void remember_producer(CoordinateSet<Dim, Space>& made, ConvolutionGeometry<Dim> const& geometry,
                       std::shared_ptr<KernelMap<Space>> const& map)
{
  auto& producers = producers_of(made);
  for (auto const& producer : producers) {
    if (producer.map == map) { return; }
  }
  producers.push_back({geometry, map});
}

/// The map that led to `set` under a kernel of `g`'s size; where several of that size did, the one that also
/// has `g`'s stride, dilation and padding. Null if there is none at all.
/// @throws invalid_argument  several, and none of them has those
template <int Dim, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> producer_of(CoordinateSet<Dim, Space>& set,
                                                            ConvolutionGeometry<Dim> const& g)
{
  ProducerLayer<Dim, Space> const* of_size = nullptr;
  int count = 0;
  for (auto const& producer : producers_of(set)) {
    auto const& made = producer.geometry;
    if (made.kernel_size != g.kernel_size || made.shape != g.shape) { continue; }
    if (made.stride == g.stride && made.dilation == g.dilation && made.padding == g.padding) {
      return producer.map;
    }
    of_size = &producer;
    ++count;
  }
  expects(count <= 1, "inverse convolution: ", count, " layers of kernel size ", g.kernel_size,
          " led to this tensor, none of them with stride ", g.stride, ", dilation ", g.dilation,
          " and padding ", g.padding, "; name those of the one to undo");
  return of_size == nullptr ? nullptr : of_size->map;
}

/// The kernel sizes of a set's producers, for a sentence.
template <int Dim, class Space>
[[nodiscard]] std::string sizes_of_producers(CoordinateSet<Dim, Space>& set)
{
  std::string text;
  for (auto const& producer : producers_of(set)) {
    text += (text.empty() ? "" : ", ") + list(producer.geometry.kernel_size);
  }
  return text.empty() ? "none" : text;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
