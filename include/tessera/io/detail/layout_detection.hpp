// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/checkpoint.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/io/weight_layout.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

using io::WeightLayout;

/// One way to read a tensor as the weight of a layer.
struct WeightReading {
  bool dense = false;  ///< of a dense layer: copied as it is
  WeightLayout layout = WeightLayout::tessera;
  std::vector<int> kernel_size;
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;

  [[nodiscard]] std::int64_t volume() const noexcept
  {
    std::int64_t product = 1;
    for (auto const size : kernel_size) { product *= size; }
    return product;
  }
};

/// Whether a network would have such a kernel: one size on all axes, or 1, and no axis above 9.
[[nodiscard]] inline bool is_usual_kernel(std::int64_t const* begin, std::int64_t const* end) noexcept
{
  std::int64_t size = 1;
  for (; begin != end; ++begin) {
    if (*begin < 1 || *begin > 9 || (*begin != 1 && size != 1 && *begin != size)) { return false; }
    size = std::max(size, *begin);
  }
  return true;
}

/// The last part of a name behind the last dot, and the rest with the dot.
[[nodiscard]] inline std::pair<std::string, std::string> split_name(std::string const& name)
{
  auto const dot = name.rfind('.');
  if (dot == std::string::npos) { return {"", name}; }
  return {name.substr(0, dot + 1), name.substr(dot + 1)};
}

/// The layer that the tensor `name` belongs to.
[[nodiscard]] inline std::string module_of(std::string const& name)
{
  auto const parent = split_name(name).first;
  return parent.substr(0, parent.empty() ? 0 : parent.size() - 1);
}

/// Tensors by name, to ask what belongs to a convolution.
class TensorTable {
 public:
  explicit TensorTable(std::vector<NamedTensor> const& tensors)
  {
    for (auto const& [name, tensor] : tensors) { tensors_.emplace(name, &tensor); }
  }

  [[nodiscard]] RawTensor const* find(std::string const& name) const
  {
    auto const found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : found->second;
  }

  /// The batch norm right behind the convolution `module` by its name: `3.1` for `3.0`, `bn2` or `norm2` for
  /// `conv2`. Empty if there is none.
  [[nodiscard]] std::string norm_behind(std::string const& module) const
  {
    auto const [parent, last] = split_name(module);
    std::vector<std::string> names;
    bool const digits =
        !last.empty() && last.size() < 9 && last.find_first_not_of("0123456789") == std::string::npos;
    if (digits) { names = {parent + std::to_string(std::stoi(last) + 1)}; }
    if (last.rfind("conv", 0) == 0) {
      names = {parent + "bn" + last.substr(4), parent + "norm" + last.substr(4)};
    }
    for (auto const& name : names) {
      for (std::string const inner : {"", ".bn"}) {  // MinkowskiEngine's norms hold PyTorch's under `bn`
        auto const* const mean = find(name + inner + ".running_mean");
        if (mean != nullptr && mean->shape.size() == 1) { return name + inner; }
      }
    }
    return {};
  }

  /// How many channels the convolution `module` gives, and which tensor says so; 0 where none does.
  [[nodiscard]] std::pair<std::int64_t, std::string> out_channels(std::string const& module) const
  {
    auto const* const bias = find(module + ".bias");
    if (bias != nullptr && !bias->shape.empty() && bias->size() == bias->shape.back()) {
      return {bias->size(), module + ".bias"};
    }
    auto const norm = norm_behind(module);
    if (norm.empty()) { return {0, ""}; }
    return {find(norm + ".running_mean")->size(), norm + ".running_mean"};
  }

 private:
  std::map<std::string, RawTensor const*> tensors_;
};

/// All readings of a `.weight` of three or more dimensions that a network could have; `forced` is one that it
/// has in any case, however unusual, instead of the other sparse ones.
[[nodiscard]] inline std::vector<WeightReading> weight_readings(std::vector<std::int64_t> const& shape,
                                                                std::optional<WeightLayout> forced)
{
  std::vector<WeightReading> readings;
  auto const rank = shape.size();
  auto const add = [&](bool dense, WeightLayout layout, std::size_t first, std::size_t in, std::size_t out) {
    auto const* const from = shape.data() + first;
    auto const* const to = from + (rank - 2);
    if (!dense && forced && *forced != layout) { return; }
    bool const certain = !dense && forced;
    if (!certain && !is_usual_kernel(from, to)) { return; }
    if (std::any_of(from, to, [](std::int64_t size) { return size < 1 || size > 1024; })) { return; }
    WeightReading reading{dense, layout, {}, shape[in], shape[out]};
    for (auto const* size = from; size != to; ++size) {
      reading.kernel_size.push_back(static_cast<int>(*size));
    }
    readings.push_back(std::move(reading));
  };
  add(true, WeightLayout::tessera, 2, 1, 0);  // Conv
  add(true, WeightLayout::tessera, 2, 0, 1);  // ConvTranspose
  add(false, WeightLayout::krsc, 1, rank - 1, 0);
  add(false, WeightLayout::rskc, 0, rank - 1, rank - 2);
  add(false, WeightLayout::rsck, 0, rank - 2, rank - 1);
  return readings;
}

/// The kernel size of a kernel [volume, in, out], of which only the volume is known: the order of offsets
/// depends on the axes longer than 1 alone. Empty if the volume does not tell them.
[[nodiscard]] inline std::vector<int> kernel_size_of_volume(std::int64_t volume)
{
  constexpr std::array<int, 4> dimensions{3, 4, 2, 1};
  for (auto const dim : dimensions) {
    for (int size = 1; size <= 31; ++size) {
      std::int64_t product = 1;
      for (int axis = 0; axis < dim; ++axis) { product *= size; }
      bool const prime = size == 2 || size == 3 || size == 5 || size == 7;
      if (product == volume && (dim > 1 || prime)) {
        return std::vector<int>(static_cast<std::size_t>(dim), size);
      }
    }
  }
  return {};
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
