// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/train/step_state.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Where a checkpoint of a training says which rule it is of.
inline constexpr char const* training_key = "tessera.training";

/// Tensors with their bytes, to be written.
class TensorList {
 public:
  void add_bytes(std::string name, DType dtype, std::vector<std::int64_t> shape,
                 std::vector<std::uint8_t> bytes);
  template <class T>
  void add(std::string name, std::vector<std::int64_t> shape,  // NOLINT(performance-unnecessary-value-param)
           std::vector<T> const& values)
  {
    std::vector<std::uint8_t> bytes(values.size() * sizeof(T));
    if (!bytes.empty()) { std::memcpy(bytes.data(), values.data(), bytes.size()); }
    add_bytes(std::move(name), dtype_of<T>(), std::move(shape), std::move(bytes));
  }
  template <class Numbers>
  void add_numbers(std::string name, Numbers const& numbers)
  {
    add(std::move(name), {static_cast<std::int64_t>(numbers.size())},
        std::vector<double>(numbers.begin(), numbers.end()));
  }
  void add_state(train::StepState const& state);

  /// They refer to this list.
  [[nodiscard]] std::vector<NamedTensor> named() const;

 private:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::uint8_t> bytes;
  };

  std::vector<Entry> entries_;
};

/// Reads what TensorList wrote; every sentence names the file.
class TrainingReader {
 public:
  /// @throws invalid_argument  `file` is no checkpoint of a training, or is one of another rule
  TrainingReader(Safetensors const& file, std::string const& rule);

  template <class T>
  [[nodiscard]] std::vector<T> values(std::string const& name, std::vector<std::int64_t> const& shape) const
  {
    return to_vector<T>(tensor(name, shape, dtype_of<T>()));
  }
  [[nodiscard]] std::int64_t number(std::string const& name) const;
  template <class Numbers>
  [[nodiscard]] Numbers numbers(std::string const& name) const
  {
    Numbers result{};
    auto const found = values<double>(name, {static_cast<std::int64_t>(result.size())});
    std::copy(found.begin(), found.end(), result.begin());
    return result;
  }
  [[nodiscard]] train::StepState state() const;
  /// Every number whose name begins with `prefix`, without that.
  [[nodiscard]] std::map<std::string, std::int64_t> all_numbers(std::string const& prefix) const;

 private:
  /// The tensor `name`, which must be of that shape and type.
  [[nodiscard]] RawTensor tensor(std::string const& name, std::vector<std::int64_t> const& shape,
                                 DType dtype) const;

  Safetensors const& tensors_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera

#ifdef TESSERA_NEEDS_HOST_BODIES
#include <tessera/io/detail/training_tensors_body.hpp>
#endif
