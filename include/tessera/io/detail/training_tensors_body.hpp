// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/inline.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/training_tensors.hpp>
#include <tessera/io/raw_tensor.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/train/step_state.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

TESSERA_INLINE void TensorList::add_bytes(std::string name, DType dtype, std::vector<std::int64_t> shape,
                                          std::vector<std::uint8_t> bytes)
{
  entries_.push_back({std::move(name), dtype, std::move(shape), std::move(bytes)});
}

TESSERA_INLINE void TensorList::add_state(train::StepState const& state)
{
  add("state.counts", {5},
      std::vector<std::int64_t>{state.step, state.skipped, static_cast<std::int64_t>(state.calls),
                                state.good_steps, state.was_skipped});
  add("state.numbers", {5},
      std::vector<double>{state.learning_rate, state.momentum, state.gradient_norm, state.gradient_factor,
                          state.loss_scale});
}

TESSERA_INLINE std::vector<NamedTensor> TensorList::named() const
{
  std::vector<NamedTensor> result;
  for (auto const& entry : entries_) {
    result.push_back({entry.name, {entry.dtype, entry.shape, entry.bytes.data(), entry.bytes.size()}});
  }
  return result;
}

TESSERA_INLINE TrainingReader::TrainingReader(Safetensors const& file, std::string const& rule)
    : tensors_{file}
{
  FileContext const context{"resume_training", file.path()};
  auto const found = file.metadata().find(training_key);
  context.expects(found != file.metadata().end(),
                  "is no checkpoint of a training; io::load() reads the weights of a network");
  context.expects(found->second == rule, "is of the rule ", in_quotes(found->second), ", not ",
                  in_quotes(rule));
}

TESSERA_INLINE RawTensor TrainingReader::tensor(std::string const& name,
                                                std::vector<std::int64_t> const& shape, DType dtype) const
{
  FileContext const context{"resume_training", tensors_.path()};
  context.expects(tensors_.contains(name), "has no ", in_quotes(name),
                  "; it is of another network, or of a training without that");
  auto found = tensors_.tensor(name);
  context.expects(found.shape == shape && found.dtype == dtype, in_quotes(name), " is ", name_of(found.dtype),
                  " ", shown_shape(found.shape), " there, but ", name_of(dtype), " ", shown_shape(shape),
                  " here");
  return found;
}

TESSERA_INLINE std::int64_t TrainingReader::number(std::string const& name) const
{
  return values<std::int64_t>(name, {}).front();
}

TESSERA_INLINE train::StepState TrainingReader::state() const
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

TESSERA_INLINE std::map<std::string, std::int64_t> TrainingReader::all_numbers(
    std::string const& prefix) const
{
  std::map<std::string, std::int64_t> result;
  for (auto const& name : tensors_.names()) {
    if (name.rfind(prefix, 0) == 0) { result[name.substr(prefix.size())] = number(name); }
  }
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
