// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/detail/known_variables.hpp>
#include <tessera/ops/record.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// Collects the operations of one forward pass by names alone, and refuses what could not run again.
template <class Space>
class Tracer final : public Recorder {
 public:
  using Record = ops::ReplayableRecord<Space>;

  template <class Input>
  Tracer(Input const& x, std::vector<VariableId> const& constants) : thread_{std::this_thread::get_id()}
  {
    for (auto const id : constants) { known_.add(id); }
    known_.add(x.id(), x.version());
  }

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    expects(std::this_thread::get_id() == thread_, "trace: ", operation->name(), " ran on another thread");
    auto const* const record = dynamic_cast<Record const*>(operation.get());
    expects(record != nullptr, "trace: ", operation->name(), " cannot be run again");
    expects(record->obstacle() == nullptr, "trace: ", operation->name(),
            " cannot be run again: ", record->obstacle() != nullptr ? record->obstacle() : "");
    expects(!record->reads_plain_pointers(), "trace: operation ", operations_.size(), ", ", record->name(),
            ", reads a weight by a plain pointer, which may not be there when it runs again; give it an "
            "nn::Parameter");
    auto const inputs = record->inputs();
    auto const versions = record->input_versions();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      expects(is_known(inputs[i]), "trace: input ", i, " of operation ", operations_.size(), ", ",
              record->name(),
              ", was made by no recorded operation and is no declared constant; ops::custom() records "
              "computations of yours, TraceConstants declares what was there before");
      expects(known_.read(inputs[i], versions[i]), "trace: input ", i, " of operation ", operations_.size(),
              ", ", record->name(),
              ", was written after it was made, by no recorded operation; ops::custom() records computations "
              "of yours");
    }
    auto const outputs = record->outputs();
    auto const made = record->output_versions();
    for (std::size_t i = 0; i < outputs.size(); ++i) { known_.add(outputs[i], made[i]); }
    operations_.push_back(record->description());
  }
  void reads_on_host(char const* what) override
  {
    fail("trace: ", what, "() was called after ", operations_.size(),
         " operations; what a model does must not depend on values or numbers of rows");
  }

  [[nodiscard]] bool is_known(VariableId id) const { return known_.has(id); }
  /// Throws unless the operations so far make an output as it is now.
  void expect_made(VariableId id, std::uint64_t version)
  {
    expects(is_known(id), "trace: an output was made by no recorded operation");
    expects(known_.read(id, version),
            "trace: an output was written after it was made, by no recorded operation; ops::custom() records "
            "computations of yours");
  }
  [[nodiscard]] std::vector<std::shared_ptr<Record const>> take() { return std::exchange(operations_, {}); }

 private:
  KnownVariables known_;
  std::vector<std::shared_ptr<Record const>> operations_;
  std::thread::id thread_;
};

template <class Model, class = void>
struct HasTraining : std::false_type {};
template <class Model>
struct HasTraining<Model, std::void_t<decltype(std::declval<Model const&>().is_training())>>
    : std::true_type {};

/// Whether a model is in training; one that cannot say is not.
template <class Model>
[[nodiscard]] bool is_training(Model const& model)
{
  if constexpr (HasTraining<Model>::value) {
    return model.is_training();
  } else {
    return false;
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace tessera
