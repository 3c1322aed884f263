// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>
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
  void add_bytes(std::string name, DType dtype, std::vector<std::int64_t> shape, Bytes bytes)
  {
    entries_.push_back({std::move(name), dtype, std::move(shape), std::move(bytes)});
  }
  template <class T>
  void add(std::string name, std::vector<std::int64_t> shape,  // NOLINT(performance-unnecessary-value-param)
           std::vector<T> const& values)
  {
    Bytes bytes(values.size() * sizeof(T));
    if (!bytes.empty()) { std::memcpy(bytes.data(), values.data(), bytes.size()); }
    add_bytes(std::move(name), dtype_of<T>(), std::move(shape), std::move(bytes));
  }
  template <class Numbers>
  void add_numbers(std::string name, Numbers const& numbers)
  {
    add(std::move(name), {static_cast<std::int64_t>(numbers.size())},
        std::vector<double>(numbers.begin(), numbers.end()));
  }
  void add_state(train::StepState const& state)
  {
    add("state.counts", {5},
        std::vector<std::int64_t>{state.step, state.skipped, static_cast<std::int64_t>(state.calls),
                                  state.good_steps, state.was_skipped});
    add("state.numbers", {5},
        std::vector<double>{state.learning_rate, state.momentum, state.gradient_norm, state.gradient_factor,
                            state.loss_scale});
  }

  /// They refer to this list.
  [[nodiscard]] std::vector<NamedTensor> named() const
  {
    std::vector<NamedTensor> result;
    for (auto const& entry : entries_) {
      result.push_back({entry.name, {entry.dtype, entry.shape, entry.bytes.data(), entry.bytes.size()}});
    }
    return result;
  }

 private:
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<std::int64_t> shape;
    Bytes bytes;
  };

  std::vector<Entry> entries_;
};

/// Reads what TensorList wrote; every sentence names the file.
class TrainingReader {
 public:
  /// @throws invalid_argument  `file` is no checkpoint of a training, or is one of another rule
  TrainingReader(Safetensors const& file, std::string const& rule)
      : tensors_{file}, context_{"resume_training", file.path()}
  {
    auto const found = file.metadata().find(training_key);
    context_.expects(found != file.metadata().end(),
                     "is no checkpoint of a training; io::load() reads the weights of a network");
    context_.expects(found->second == rule, "is of the rule ", in_quotes(found->second), ", not ",
                     in_quotes(rule));
  }

  template <class T>
  [[nodiscard]] std::vector<T> values(std::string const& name, std::vector<std::int64_t> const& shape) const
  {
    context_.expects(tensors_.contains(name), "has no ", in_quotes(name),
                     "; it is of another network, or of a training without that");
    auto const tensor = tensors_.tensor(name);
    context_.expects(tensor.shape == shape && tensor.dtype == dtype_of<T>(), in_quotes(name), " is ",
                     name_of(tensor.dtype), " ", shown_shape(tensor.shape), " there, but ",
                     name_of(dtype_of<T>()), " ", shown_shape(shape), " here");
    return to_vector<T>(tensor);
  }
  [[nodiscard]] std::int64_t number(std::string const& name) const
  {
    return values<std::int64_t>(name, {}).front();
  }
  template <class Numbers>
  [[nodiscard]] Numbers numbers(std::string const& name) const
  {
    Numbers result{};
    auto const found = values<double>(name, {static_cast<std::int64_t>(result.size())});
    std::copy(found.begin(), found.end(), result.begin());
    return result;
  }
  [[nodiscard]] train::StepState state() const
  {
    auto const counts = values<std::int64_t>("state.counts", {5});
    auto const numbers = values<double>("state.numbers", {5});
    train::StepState state;
    state.step = counts[0];
    state.skipped = counts[1];
    state.calls = static_cast<std::uint64_t>(counts[2]);
    state.good_steps = static_cast<std::int32_t>(counts[3]);
    state.was_skipped = static_cast<std::int32_t>(counts[4]);
    state.learning_rate = numbers[0];
    state.momentum = numbers[1];
    state.gradient_norm = numbers[2];
    state.gradient_factor = numbers[3];
    state.loss_scale = numbers[4];
    return state;
  }
  /// Every number whose name begins with `prefix`, without that.
  [[nodiscard]] std::map<std::string, std::int64_t> all_numbers(std::string const& prefix) const
  {
    std::map<std::string, std::int64_t> result;
    for (auto const& name : tensors_.names()) {
      if (name.rfind(prefix, 0) == 0) { result[name.substr(prefix.size())] = number(name); }
    }
    return result;
  }

 private:
  Safetensors const& tensors_;
  FileContext context_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
