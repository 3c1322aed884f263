// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/convolution.hpp>
#include <tessera/ops/detail/rows.hpp>

#include <climits>
#include <cstdint>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// index[i] = i.
struct NumberRows {
  std::int32_t* index;  // [rows]

  TESSERA_HOST_DEVICE void operator()(std::int64_t i) const { index[i] = static_cast<std::int32_t>(i); }
};

/// The map of a kernel of one offset under which each of `rows` rows reads itself.
/// @param who  begins the sentence of an error
/// Stream: enqueues a kernel, does not wait.
template <class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> row_map(std::int64_t rows, char const* who,
                                                        Execution<Space> const& exec)
{
  expects(rows <= INT_MAX, who, ": ", rows, " rows are more than row indices hold");
  Buffer<std::int32_t, Space> index{rows, exec};
  for_each(rows, NumberRows{index.data()}, exec);
  KernelMapParts<Space> parts;
  parts.mirror = OffsetMirror::reversal(1);
  return std::make_shared<KernelMap<Space>>(std::move(index), rows, rows, 1, 0, std::move(parts));
}

/// The same for the rows of a value: those of a tensor are its coordinate set's, which knows how many are in
/// use.
/// @param x  null where the record gave a value without coordinates back
template <class Value, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> row_map_of(Value const* /*x*/, std::int64_t rows,
                                                           char const* who, Execution<Space> const& exec)
{
  return row_map<Space>(rows, who, exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] std::shared_ptr<KernelMap<Space>> row_map_of(SparseTensor<Dim, Scalar, Space> const* x,
                                                           std::int64_t /*rows*/, char const* /*who*/,
                                                           Execution<Space> const& exec)
{
  ConvolutionGeometry<Dim> one_voxel;
  one_voxel.kernel_size = 1;
  return kernel_map(ConvConfig{}, *x->coordinates(), ConvolutionKind::submanifold, one_voxel, exec).map;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
