// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/parallel.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/kmap/kernel_map.hpp>
#include <tessera/ops/detail/row_pairs.hpp>
#include <tessera/ops/detail/rows.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/point_tensor.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace ops {

/// What an operation has to do, in numbers: nn::profile() sets its time against them.
struct OperationWork {
  std::int64_t rows = 0;          ///< of its output
  int in_channels = 0;            ///< of what it multiplies by a weight; else 0
  int out_channels = 0;           ///< of its output
  std::int64_t pairs = 0;         ///< of its kernel map; 0 where it reads none
  double multiply_adds = 0;       ///< by a weight
  double gathered_bytes = 0;      ///< read through its kernel map, each pair's row by itself
  double bytes = 0;               ///< of inputs, weights and output, each once
  DType scalar = DType::float32;  ///< of its output
  std::string kernel;             ///< which of several carried it out; empty where there is one
};

}  // namespace ops

namespace detail {

/// counts[0] += pairs of output row `row`.
struct CountPairs {
  std::int32_t const* out_in;  // [rows, volume]
  int volume;
  unsigned long long* counts;  // [1]

  TESSERA_HOST_DEVICE void operator()(std::int64_t row) const
  {
    atomic_add(counts, static_cast<unsigned long long>(count_pairs_of(out_in, volume, row)));
  }
};

/// Stream: enqueues a kernel, and waits.
template <class Space>
[[nodiscard]] std::int64_t count_pairs(KernelMap<Space>& map, Execution<Space> const& exec)
{
  Buffer<unsigned long long, Space> count{1, exec};
  fill_bytes(count, 0, exec);
  if (map.num_out() > 0) {
    for_each(map.num_out(), CountPairs{map.out_in(exec), map.volume(), count.data()}, exec);
  }
  return static_cast<std::int64_t>(download(count, exec)[0]);
}

/// The bytes of a value's features; 0 of what has none.
template <class Value>
[[nodiscard]] double bytes_of_value(Value const& /*value*/)
{
  return 0;
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] double bytes_of_value(SparseTensor<Dim, Scalar, Space> const& x)
{
  return static_cast<double>(x.features().size()) * sizeof(Scalar);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] double bytes_of_value(PointTensor<Dim, Scalar, Space> const& z)
{
  return static_cast<double>(z.features().size()) * sizeof(Scalar);
}
template <class T, class Space>
[[nodiscard]] double bytes_of_value(Matrix<T, Space> const& x)
{
  return static_cast<double>(x.size()) * sizeof(T);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] double bytes_of_value(DenseTensor<Dim, Scalar, Space> const& x)
{
  return static_cast<double>(x.size()) * sizeof(Scalar);
}

/// Notes rows, channels and scalar of an operation's output.
template <class Value>
void note_output(ops::OperationWork& /*work*/, Value const& /*output*/)
{}
template <int Dim, class Scalar, class Space>
void note_output(ops::OperationWork& work, SparseTensor<Dim, Scalar, Space> const& y)
{
  work.rows = y.features().rows;
  work.out_channels = y.channels();
  work.scalar = ScalarTraits<Scalar>::dtype;
}
template <int Dim, class Scalar, class Space>
void note_output(ops::OperationWork& work, PointTensor<Dim, Scalar, Space> const& y)
{
  work.rows = y.num_points();
  work.out_channels = y.channels();
  work.scalar = ScalarTraits<Scalar>::dtype;
}
template <class T, class Space>
void note_output(ops::OperationWork& work, Matrix<T, Space> const& y)
{
  work.rows = y.rows();
  work.out_channels = static_cast<int>(y.columns());
  work.scalar = ScalarTraits<T>::dtype;
}
template <int Dim, class Scalar, class Space>
void note_output(ops::OperationWork& work, DenseTensor<Dim, Scalar, Space> const& y)
{
  work.out_channels = y.channels();
  work.rows = y.channels() > 0 ? y.size() / y.channels() : 0;
  work.scalar = ScalarTraits<Scalar>::dtype;
}

/// Notes the product of the rows of a map's pairs and a weight [volume, in_channels, out_channels].
template <class Scalar>
void note_product(ops::OperationWork& work, std::int64_t pairs, int volume, int in_channels, int out_channels)
{
  auto const count = static_cast<double>(pairs);
  auto const weights = static_cast<double>(volume) * in_channels * out_channels;
  work.pairs = pairs;
  work.in_channels = in_channels;
  work.multiply_adds = count * in_channels * out_channels;
  work.gathered_bytes = count * in_channels * sizeof(Scalar);
  work.bytes += weights * sizeof(Scalar);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
