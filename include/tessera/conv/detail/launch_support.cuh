// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/execution.cuh>
#include <tessera/core/map_streams.cuh>
#include <tessera/kmap/kernel_map.hpp>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The `size` elements of the weight in the order of `layout`: `given`, if it has that already, else packed
/// into `own`.
template <class Scalar, class Pack>
[[nodiscard]] Scalar const* packed_weight(PackedWeightView<Scalar> const& given, PackedLayout const& layout,
                                          std::int64_t size, Buffer<Scalar, Device>& own,
                                          Execution<Device> const& exec, Pack const& pack)
{
  if (given.values != nullptr && given.layout == layout) { return given.values; }
  own = Buffer<Scalar, Device>{size, exec};
  pack(own.data());
  return own.data();
}

/// Whether a convolution's kernel may begin while the one before still runs: it reads its map, weight and
/// bias before it waits. So the map must come from a map stream that the stream waited for before an
/// earlier kernel, and the weight from a layer that keeps it.
[[nodiscard]] inline bool uses_programmatic_launch(KernelMap<Device> const& map, bool packs_weight,
                                                   Execution<Device> const& exec)
{
  return CUDART_VERSION >= 12030 && exec.map_streams() != nullptr &&
         access(*exec.map_streams()).consume_overlap() && !packs_weight &&
         map.parts().map_stream.streams == exec.map_streams();
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
