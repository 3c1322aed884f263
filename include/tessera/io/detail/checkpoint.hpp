// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/parameter.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] bool ends_with(std::string const& text, std::string const& end);

/// At most five names, and how many more there are.
[[nodiscard]] std::string first_few(std::vector<std::string> const& names);

/// Throws unless the parameters lie in `Space`.
template <class Space>
void expect_space(std::vector<nn::ParameterView> const& parameters, char const* who)
{
  for (auto const& parameter : parameters) {
    expects(parameter.on_device == std::is_same_v<Space, Device>, who, ": parameter \"", parameter.name,
            "\" lies on the ", parameter.on_device ? "device" : "host", ", the execution does not");
  }
}

/// Whether files may have the elements of `parameter` in another order.
[[nodiscard]] inline bool is_placed(nn::ParameterView const& parameter)
{
  return parameter.role == nn::ParameterRole::conv_weight || parameter.role == nn::ParameterRole::matrix;
}

/// Where a file has the elements of a parameter whose kernels `place` puts; those that is_placed() excludes
/// lie in the file as in the module.
[[nodiscard]] io::WeightPlacement placement(nn::ParameterView const& parameter,
                                            io::WeightPlacement (*place)(nn::ParameterView const&));

/// The shape of `parameter` in a file of `Layout`.
template <class Layout>
[[nodiscard]] std::vector<std::int64_t> file_shape(nn::ParameterView const& parameter,
                                                   Layout const& /*layout*/)
{
  return placement(parameter, &Layout::place).shape;
}

/// Writes `value` to `to` as a float16, bfloat16 or float32.
void store_float(float value, DType dtype, std::uint8_t* to);

/// `value` as a float from which rounding to nearest in a shorter type gives what it gives from `value`:
/// where it is not exact, the one of the two neighbours whose last bit is 1 (rounding to odd; Boldo and
/// Melquiond, 2008).
[[nodiscard]] float round_to_odd(double value) noexcept;

/// Element `from` of `tensor` as element `to` of `bytes`, which has the type `dtype`.
void convert_element(RawTensor const& tensor, std::int64_t from, DType dtype, std::uint8_t* bytes,
                     std::int64_t to);

/// The bytes that `parameter` is to have, from the tensor `name` of a file that has it at `place`.
/// @throws invalid_argument  another shape, or integers
[[nodiscard]] std::vector<std::uint8_t> values_for(nn::ParameterView const& parameter,
                                                   std::string const& name, RawTensor const& tensor,
                                                   io::WeightPlacement const& place);

/// `own`, the bytes of `parameter`, in the order of a file that has it at `place`.
[[nodiscard]] std::vector<std::uint8_t> in_file_order(nn::ParameterView const& parameter,
                                                      io::WeightPlacement const& place,
                                                      std::vector<std::uint8_t> const& own);

/// The bytes that a file holds for `parameter`, which it has at `place`.
/// Stream: waits.
template <class Space>
[[nodiscard]] std::vector<std::uint8_t> bytes_of(nn::ParameterView const& parameter,
                                                 io::WeightPlacement const& place,
                                                 Execution<Space> const& exec)
{
  auto const element = size_of(parameter.dtype);
  std::vector<std::uint8_t> own(static_cast<std::size_t>(parameter.size) * element);
  Transfer<Space>::to_host(own.data(), parameter.parameter->bytes(), own.size(), exec);
  return in_file_order(parameter, place, own);
}

/// `bytes`, the values of `parameter`, as values of `dtype`.
/// @throws invalid_argument  a finite one is too large for it
[[nodiscard]] std::vector<std::uint8_t> converted_values(nn::ParameterView const& parameter,
                                                         std::vector<std::uint8_t> bytes, DType dtype);

}  // namespace detail
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/checkpoint_body.hpp>
#endif
