// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/core/buffer.hpp>
#include <tessera/core/space.hpp>

#include <array>
#include <type_traits>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Owns a weight as the device's kernels read it; without values where there is no such thing.
template <class Scalar, class Space>
struct PackedWeight {
  Buffer<Scalar, Space> values;
  std::array<int, 8> layout{};

  [[nodiscard]] PackedWeightView<Scalar> view() const { return {values.data(), layout}; }
};

/// How a space carries out an implicit GEMM with AutoTile.
struct CarriedOut {
  TileChoice tiles = TileChoice::automatic;  ///< what asks for just that, or `automatic` where nothing does
  int tile_rows = 1;                         ///< of the tile map that is read, or 0: none is

  friend bool operator==(CarriedOut const& a, CarriedOut const& b)
  {
    return a.tiles == b.tiles && a.tile_rows == b.tile_rows;
  }
};

/// The dataflows of one space. Host: conv/detail/convolution_host.hpp; Device:
/// conv/detail/convolution_device.cuh. Each specialisation has, as static members and with Scalar deduced:
///
///   template <class TilePolicy> void implicit_gemm(arguments, map, bool sort, int splits, exec)
///   void gather_scatter(arguments, map, exec)
///   void fetch_on_demand(arguments, map, exec)
///   bool takes_pair(arguments, int volume, exec)        whether implicit_gemm() reads `more`
///   PackedWeight<Scalar, Space> pack(arguments, int volume, exec)
///   CarriedOut carried_out(arguments, map, int splits, exec)        by implicit_gemm()
template <class Space>
struct ConvolutionBackend {
  static_assert(!std::is_same_v<Space, Host>,
                "convolution on the host: include <tessera/conv/convolution.hpp>");
  static_assert(!std::is_same_v<Space, Device>,
                "convolution on the device: include <tessera/conv/convolution.cuh> and compile with nvcc");
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
