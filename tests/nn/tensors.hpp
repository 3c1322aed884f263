// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Tensors of random features for the tests of modules, and how close results must come to the definition.

#include "../support/files.hpp"
#include "../support/oracle.hpp"
#include "../support/spaces.hpp"

#ifdef __CUDACC__
#include <tessera/core/launch.cuh>
#include <tessera/core/scalar.cuh>
#endif
#include <tessera/tensor/sparse_tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

namespace test {

/// Relative rounding of a result: of the scalar it is stored in, and of the float sums behind it.
template <class Scalar>
constexpr double rounding()
{
  return sizeof(Scalar) == 8 ? 1e-12 : sizeof(Scalar) == 4 ? 1e-5 : 1e-2;
}

template <class Scalar>
Scalar from_double(double value)
{
  if constexpr (std::is_same_v<Scalar, double>) {
    return value;
  } else {
    return static_cast<Scalar>(static_cast<float>(value));
  }
}

/// A tensor on the host: what the definitions read. Values are those that `Scalar` can hold.
struct HostTensor {
  std::vector<tessera::Coordinate<3>> coordinates;
  std::vector<double> features;  // [rows, channels]
  int channels = 0;

  [[nodiscard]] std::size_t rows() const { return coordinates.size(); }
  [[nodiscard]] double at(std::size_t row, int channel) const
  {
    return features[row * static_cast<std::size_t>(channels) + static_cast<std::size_t>(channel)];
  }
};

/// `rows` voxels spread in random order over the batch entries named, features of standard deviation 2 around
/// the channel's number.
template <class Scalar>
HostTensor random_tensor(std::size_t rows, int channels, std::vector<int> const& entries, std::uint32_t seed)
{
  std::mt19937 random{seed};
  std::normal_distribution<double> noise{0.0, 2.0};
  HostTensor result;
  result.channels = channels;
  for (std::size_t i = 0; i < rows; ++i) {
    auto const entry = entries[random() % entries.size()];
    auto const n = static_cast<int>(i);
    result.coordinates.push_back({entry, {n % 50, n / 50 % 50, n / 2500}});
    for (int c = 0; c < channels; ++c) {
      result.features.push_back(wide(from_double<Scalar>(c % 7 + noise(random))));
    }
  }
  return result;
}

template <class Scalar>
std::vector<Scalar> rounded(std::vector<double> const& values)
{
  std::vector<Scalar> result;
  for (auto const value : values) { result.push_back(from_double<Scalar>(value)); }
  return result;
}

/// The tensor in `Space`; `batches` > 0 declares a range with so many entries.
template <class Scalar, class Space>
tessera::SparseTensor<3, Scalar, Space> upload_tensor(HostTensor const& from,
                                                      tessera::Execution<Space> const& exec, int batches = 0)
{
  tessera::CoordinateSetOptions<3> options;
  if (batches > 0) { options.spatial_range = tessera::SpatialRange<3>{batches, {50, 50, 50}}; }
  auto const rows = static_cast<std::int64_t>(from.rows());
  return {tessera::make_coordinate_set(from.coordinates, options, exec),
          tessera::Matrix<Scalar, Space>{tessera::upload(rounded<Scalar>(from.features), exec), rows,
                                         from.channels}};
}

/// A tensor in fixed room: only the space knows that the first `used` of the rows are in use. Those behind them
/// may hold anything.
/// @param options  a fixed capacity in it is that of derived sets; without one they have room for as many rows
template <int Dim, class Scalar, class Space>
tessera::SparseTensor<Dim, Scalar, Space> tensor_in_room(std::vector<tessera::Coordinate<Dim>> const& rows,
                                                         std::vector<Scalar> const& features,
                                                         std::size_t used,
                                                         tessera::CoordinateSetOptions<Dim> options,
                                                         tessera::Execution<Space> const& exec)
{
  auto const capacity = static_cast<std::int64_t>(rows.size());
  if (!options.fixed_capacity) { options.fixed_capacity = tessera::FixedCapacity{capacity}; }
  auto const own_rows = upload(rows, exec);
  auto const count = upload(std::vector<std::int32_t>{static_cast<std::int32_t>(used)}, exec);
  return {tessera::make_coordinate_set<Dim>(reinterpret_cast<std::int32_t const*>(own_rows.data()),
                                            tessera::RowCount{capacity, count.data()}, options, exec),
          upload_matrix(features, static_cast<std::int64_t>(features.size() / rows.size()), exec)};
}

/// Every value within `bound * max(1, magnitude)` of the definition.
template <class Scalar>
void check_close(std::vector<Scalar> const& found, std::vector<double> const& expected, double bound)
{
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    auto const apart = std::abs(wide(found[i]) - expected[i]) / std::max(1.0, std::abs(expected[i]));
    if (!(apart <= worst)) {
      worst = apart;
      where = i;
    }
  }
  CAPTURE(where);
  CAPTURE(found.empty() ? 0.0 : wide(found[where]));
  CAPTURE(expected.empty() ? 0.0 : expected[where]);
  CHECK(worst <= bound);
}

template <class Scalar>
bool same_bits(std::vector<Scalar> const& a, std::vector<Scalar> const& b)
{
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), sizeof(Scalar) * a.size()) == 0);
}

/// Calls `body(Scalar{})` for every scalar that this build has.
template <class Body>
void for_each_scalar(Body const& body)
{
  body(float{});
  body(double{});
#ifdef __CUDACC__
  body(__half{});
  body(__nv_bfloat16{});
#endif
}

}  // namespace test
