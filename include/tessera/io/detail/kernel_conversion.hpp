// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/detail/layout_decision.hpp>
#include <tessera/io/weight_layout.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A tensor with its own memory.
struct OwnedTensor {
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;
  Bytes bytes;

  [[nodiscard]] RawTensor view() const { return {dtype, shape, bytes.data(), bytes.size()}; }
};

[[nodiscard]] inline OwnedTensor own(RawTensor const& tensor)
{
  return {tensor.dtype, tensor.shape, Bytes(tensor.bytes, tensor.bytes + tensor.num_bytes)};
}

/// How a kernel of one voxel lies in memory.
enum class Pointwise : std::uint8_t {
  not_so,     ///< more voxels, or a stride
  in_memory,  ///< as [in, out] whatever its shape says: spconv 2
  as_shaped   ///< as its shape says, and [in, out] afterwards
};

/// A kernel in Tessera's layout, and what is known of its size.
struct ConvertedKernel {
  OwnedTensor tensor;
  KernelMark mark;
};

/// `tensor`, read as `decision` says, in Tessera's layout; with `swap` its axes are reversed.
[[nodiscard]] inline ConvertedKernel to_tessera(RawTensor const& tensor, LayoutDecision const& decision,
                                                Pointwise pointwise, bool swap, std::string const& name,
                                                FileContext const& file)
{
  auto const& reading = decision.reading;
  nn::ParameterView kernel{};
  kernel.kernel_size = reading.kernel_size;
  kernel.shape = {reading.in_channels, reading.out_channels};
  if (pointwise != Pointwise::in_memory) { kernel.shape.insert(kernel.shape.begin(), reading.volume); }
  kernel.size = tensor.size();
  bool const flat = is_flat(reading.layout);
  // A flat layout's order of offsets is a matter of `offsets`.
  auto const place = io::with_layout(flat ? WeightLayout::tessera : reading.layout,
                                     [&](auto layout) { return layout.place(kernel); });
  // A strided convolution of one voxel may come as [1, in, out] or [in, out].
  if (place.shape != tensor.shape && !(flat && tensor.shape.size() == 2 && reading.volume == 1)) {
    file.fail("kernel ", in_quotes(name), " has the shape ", shown_shape(tensor.shape), ", not ",
              shown_shape(place.shape));
  }
  auto const offsets = convert_offsets(reading.volume, decision.source, reading.kernel_size, swap);
  ConvertedKernel result{{tensor.dtype, kernel.shape, Bytes(tensor.num_bytes)}, offsets.mark};
  if (pointwise == Pointwise::as_shaped) { result.tensor.shape.erase(result.tensor.shape.begin()); }
  auto const element = size_of(tensor.dtype);
  auto* to = result.tensor.bytes.data();
  for (auto const offset : offsets.from) {
    auto const first = place.first[static_cast<std::size_t>(offset)];
    for (std::int64_t in = 0; in < reading.in_channels; ++in) {
      for (std::int64_t out = 0; out < reading.out_channels; ++out, to += element) {
        auto const at = first + in * place.in_step + out * place.out_step;
        std::memcpy(to, tensor.bytes + static_cast<std::size_t>(at) * element, element);
      }
    }
  }
  return result;
}

/// Element `index` of `tensor` as a double.
[[nodiscard]] inline double element_to_double(RawTensor const& tensor, std::size_t index)
{
  if (tensor.dtype != DType::float64) { return element_to_float(tensor, index); }
  return load_bytes<double>(tensor.bytes + index * sizeof(double));
}

inline void store_double(double value, DType dtype, std::uint8_t* to)
{
  if (dtype == DType::float64) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    store_float(round_to_float(value), dtype, to);
  }
}

/// The batch norm `norm` as `scale * x + shift`, one of each a channel.
struct NormLine {
  std::vector<double> scale;
  std::vector<double> shift;
};

[[nodiscard]] inline NormLine norm_line(TensorTable const& table, std::string const& norm,
                                        std::int64_t channels, double epsilon, FileContext const& file)
{
  auto const values = [&](char const* part, bool needed, double otherwise) {
    std::vector<double> result(static_cast<std::size_t>(channels), otherwise);
    auto const* const tensor = table.find(norm + part);
    if (tensor == nullptr && !needed) { return result; }
    if (tensor == nullptr || tensor->size() != channels) {
      file.fail("batch norm ", in_quotes(norm), " has no ", part + 1, " of ", channels, " channels");
    }
    for (std::size_t i = 0; i < result.size(); ++i) { result[i] = element_to_double(*tensor, i); }
    return result;
  };
  auto const mean = values(".running_mean", true, 0.0);
  auto const variance = values(".running_var", true, 1.0);
  NormLine line{values(".weight", false, 1.0), values(".bias", false, 0.0)};
  for (std::size_t i = 0; i < mean.size(); ++i) {
    line.scale[i] /= std::sqrt(variance[i] + epsilon);
    line.shift[i] -= mean[i] * line.scale[i];
  }
  return line;
}

/// `kernel`, whose last axis is the channels out, with `line` behind it; `bias` may be null.
struct FoldedKernel {
  OwnedTensor kernel;
  OwnedTensor bias;
  bool fits = true;  ///< no value became infinite in the type of the kernel
};

[[nodiscard]] inline FoldedKernel fold_norm(OwnedTensor kernel, RawTensor const* bias, NormLine const& line)
{
  auto const channels = line.scale.size();
  auto const element = size_of(kernel.dtype);
  auto const elements = kernel.bytes.size() / element;
  FoldedKernel result;
  result.bias = {kernel.dtype, {static_cast<std::int64_t>(channels)}, Bytes(channels * element)};
  auto const store = [&](double value, OwnedTensor& to, std::size_t i) {
    store_double(value, kernel.dtype, to.bytes.data() + i * element);
    if (is_finite(value) && !is_finite(element_to_double(to.view(), i))) { result.fits = false; }
  };
  auto const view = kernel.view();
  for (std::size_t i = 0; i < elements; ++i) {
    store(element_to_double(view, i) * line.scale[i % channels], kernel, i);
  }
  for (std::size_t i = 0; i < channels; ++i) {
    auto const old = bias == nullptr ? 0.0 : element_to_double(*bias, i);
    store(old * line.scale[i] + line.shift[i], result.bias, i);
  }
  result.kernel = std::move(kernel);
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
