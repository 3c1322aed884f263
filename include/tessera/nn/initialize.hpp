// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/detail/random.hpp>
#include <tessera/core/host_device.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Uniform values in [-bound, bound), the same for a seed in every space and scalar up to rounding.
template <class T, class Space>
void fill_uniform(nn::Parameter<T, Space>& parameter, double bound, std::uint64_t seed,
                  Execution<Space> const& exec)
{
  std::vector<T> values(static_cast<std::size_t>(parameter.size()));
  std::uint64_t state = seed * 0x2545f4914f6cdd1dULL + 0x1234567ULL;
  for (auto& value : values) {
    auto const unit = static_cast<double>(next_random(state) >> 11) * 0x1.0p-53;
    value = static_cast<T>(static_cast<float>((2 * unit - 1) * bound));
  }
  Transfer<Space>::from_host(parameter.write(), values.data(), values.size() * sizeof(T), exec);
}

/// A new parameter of such values.
template <class T, class Space>
[[nodiscard]] nn::Parameter<T, Space> uniform_parameter(std::vector<std::int64_t> shape, double bound,
                                                        std::uint64_t seed, Execution<Space> const& exec)
{
  nn::Parameter<T, Space> parameter{std::move(shape), exec};
  fill_uniform(parameter, bound, seed, exec);
  return parameter;
}

/// One value everywhere.
template <class T, class Space>
void fill_constant(nn::Parameter<T, Space>& parameter, double constant, Execution<Space> const& exec)
{
  std::vector<T> const values(static_cast<std::size_t>(parameter.size()),
                              static_cast<T>(static_cast<float>(constant)));
  Transfer<Space>::from_host(parameter.write(), values.data(), values.size() * sizeof(T), exec);
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
