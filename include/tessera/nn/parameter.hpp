// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/scalar.hpp>
#include <tessera/core/variable.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace nn {

/// What a parameter is for: layouts of checkpoints treat them differently.
enum class ParameterRole : std::uint8_t {
  kernel,  ///< weight of a sparse convolution, [volume, in, out] (or [in, out] for a 1x1x1 one of stride 1)
  matrix,  ///< weight of a linear layer, [in, out]; files have it [out, in], as PyTorch does
  weight,  ///< any other weight: of a norm [channels]
  bias,    ///< [channels]
  buffer,  ///< a running statistic, not trained
};

/// A parameter: values in one space with a shape. Moves, never copies, and is as made by default once moved
/// from: no values, no extents.
template <class T, class Space>
class Parameter {
 public:
  Parameter() = default;
  /// Uninitialised. @throws invalid_argument  a negative extent, or too many values
  Parameter(std::vector<std::int64_t> shape, Execution<Space> const& exec) : shape_{std::move(shape)}
  {
    std::int64_t size = 1;
    for (auto const extent : shape_) {
      detail::expects(extent >= 0 && (extent == 0 || size <= INT64_MAX / extent),
                      "Parameter: values of shape ", detail::list(shape_), " cannot be allocated");
      size *= extent;
    }
    values_ = Buffer<T, Space>{size, exec};
    id_ = detail::next_variable_id();
  }

  Parameter(Parameter&& other) noexcept
      : id_{std::exchange(other.id_, 0)},
        shape_{std::exchange(other.shape_, {})},
        values_{std::move(other.values_)}
  {}
  Parameter& operator=(Parameter&& other) noexcept
  {
    Parameter moved{std::move(other)};
    std::swap(id_, moved.id_);
    shape_.swap(moved.shape_);
    values_.swap(moved.values_);
    return *this;
  }

  [[nodiscard]] T* data() noexcept { return values_.data(); }
  [[nodiscard]] T const* data() const noexcept { return values_.data(); }
  [[nodiscard]] std::int64_t size() const noexcept { return values_.size(); }
  [[nodiscard]] std::vector<std::int64_t> const& shape() const noexcept { return shape_; }
  /// The parameter as a variable; 0 where it has no values.
  [[nodiscard]] VariableId id() const noexcept { return id_; }
  /// The parameter as an operation takes it.
  operator ParameterRef<T>() const noexcept { return {data(), id()}; }  // NOLINT(google-explicit-constructor)

 private:
  VariableId id_ = 0;
  std::vector<std::int64_t> shape_;
  Buffer<T, Space> values_;
};

/// A parameter seen without its scalar type, as a checkpoint sees it.
struct ParameterView {
  std::string name;  ///< as in a PyTorch state_dict, e.g. "stage1.0.net.0.kernel"
  ParameterRole role;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::vector<int> kernel_size;  ///< of a kernel, one number an axis; else empty
  void* data;                    ///< in the module's space
  std::int64_t size;             ///< elements
  bool on_device;                ///< whether that space is the device
};

}  // namespace nn
}  // namespace v0
}  // namespace tessera
