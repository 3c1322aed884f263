// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/printable.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/weight_layout.hpp>
#include <tessera/nn/parameter.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

TESSERA_INLINE bool ends_with(std::string const& text, std::string const& end)
{
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TESSERA_INLINE std::string first_few(std::vector<std::string> const& names)
{
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) {
    text += (i == 0 ? "" : ", ") + shown_name(names[i]);
  }
  return names.size() > most ? concat(text, " and ", names.size() - most, " more") : text;
}

TESSERA_INLINE io::WeightPlacement placement(nn::ParameterView const& parameter,
                                             io::WeightPlacement (*place)(nn::ParameterView const&))
{
  if (parameter.role == nn::ParameterRole::conv_weight) { return place(parameter); }
  if (!is_placed(parameter)) { return {parameter.shape, {}, 0, 1}; }
  auto const in_channels = parameter.shape.front();
  return {{parameter.shape.back(), in_channels}, {0}, 1, in_channels};
}

/// Calls `body(index in the module, index in the file)` for every element.
template <class Body>
void for_each_element(nn::ParameterView const& parameter, io::WeightPlacement const& place, Body const& body)
{
  if (!is_placed(parameter)) {
    for (std::int64_t i = 0; i < parameter.size; ++i) { body(i, i); }
    return;
  }
  auto const out_channels = parameter.shape.back();
  auto const in_channels = parameter.shape[parameter.shape.size() - 2];
  std::int64_t i = 0;
  for (auto const first : place.first) {
    for (std::int64_t in = 0; in < in_channels; ++in) {
      for (std::int64_t out = 0; out < out_channels; ++out, ++i) {
        body(i, first + in * place.in_step + out * place.out_step);
      }
    }
  }
}

TESSERA_INLINE void store_float(float value, DType dtype, std::uint8_t* to)
{
  if (dtype == DType::float32) {
    std::memcpy(to, &value, sizeof(value));
    return;
  }
  auto const bits = dtype == DType::float16 ? float_to_half_bits(value) : float_to_bfloat16_bits(value);
  std::memcpy(to, &bits, sizeof(bits));
}

TESSERA_INLINE float round_to_odd(double value) noexcept
{
  auto const nearest = round_to_float(value);
  double const back = nearest;
  if (back == value || value != value) { return nearest; }
  auto bits = bit_cast<std::uint32_t>(nearest);
  if (std::abs(back) > std::abs(value)) { --bits; }  // towards zero; from infinity to the largest
  return bit_cast<float>(bits | 1U);
}

TESSERA_INLINE void convert_element(RawTensor const& tensor, std::int64_t from, DType dtype,
                                    std::uint8_t* bytes, std::int64_t to)
{
  auto const* const source = tensor.bytes + static_cast<std::size_t>(from) * size_of(tensor.dtype);
  auto* const target = bytes + static_cast<std::size_t>(to) * size_of(dtype);
  if (tensor.dtype == dtype) {
    std::memcpy(target, source, size_of(dtype));
  } else if (dtype == DType::float64) {
    double const value = element_to_float(tensor, static_cast<std::size_t>(from));
    std::memcpy(target, &value, sizeof(value));
  } else if (tensor.dtype == DType::float64 && dtype != DType::float32) {
    double value = 0;
    std::memcpy(&value, source, sizeof(value));
    store_float(round_to_odd(value), dtype, target);  // rounded once
  } else {
    store_float(element_to_float(tensor, static_cast<std::size_t>(from)), dtype, target);
  }
}

TESSERA_INLINE std::vector<std::uint8_t> values_for(nn::ParameterView const& parameter,
                                                    std::string const& name, RawTensor const& tensor,
                                                    io::WeightPlacement const& place)
{
  expects(tensor.shape == place.shape, "load: tensor \"", shown_name(name), "\" has the shape ",
          shown_shape(tensor.shape), " in the file, but the module needs ", shown_shape(place.shape));
  expects(tensor.dtype == DType::float16 || tensor.dtype == DType::bfloat16 ||
              tensor.dtype == DType::float32 || tensor.dtype == DType::float64,
          "load: tensor \"", shown_name(name), "\" holds ", name_of(tensor.dtype),
          ", but float16, bfloat16, float32 or float64 is needed");
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(parameter.size) * size_of(parameter.dtype));
  for_each_element(parameter, place, [&](std::int64_t own, std::int64_t in_file) {
    convert_element(tensor, in_file, parameter.dtype, bytes.data(), own);
  });
  return bytes;
}

TESSERA_INLINE std::vector<std::uint8_t> in_file_order(nn::ParameterView const& parameter,
                                                       io::WeightPlacement const& place,
                                                       std::vector<std::uint8_t> const& own)
{
  auto const element = size_of(parameter.dtype);
  std::vector<std::uint8_t> bytes(own.size());
  for_each_element(parameter, place, [&](std::int64_t i, std::int64_t in_file) {
    std::memcpy(bytes.data() + static_cast<std::size_t>(in_file) * element,
                own.data() + static_cast<std::size_t>(i) * element, element);
  });
  return bytes;
}

TESSERA_INLINE std::vector<std::uint8_t> converted_values(nn::ParameterView const& parameter,
                                                          std::vector<std::uint8_t> bytes, DType dtype)
{
  if (dtype == parameter.dtype) { return bytes; }
  RawTensor const own{parameter.dtype, {parameter.size}, bytes.data(), bytes.size()};
  std::vector<std::uint8_t> result(static_cast<std::size_t>(parameter.size) * size_of(dtype));
  RawTensor const converted{dtype, {parameter.size}, result.data(), result.size()};
  for (std::int64_t i = 0; i < parameter.size; ++i) {
    convert_element(own, i, dtype, result.data(), i);
    auto const at = static_cast<std::size_t>(i);
    expects(is_finite(element_to_float(converted, at)) || !is_finite(element_to_float(own, at)),
            "save: a value of \"", shown_name(parameter.name), "\" is ", element_to_float(own, at),
            ", too large for ", name_of(dtype));
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
