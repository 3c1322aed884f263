// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/ops/gradients.hpp>
#include <tessera/ops/replay.hpp>
#include <tessera/ops/work.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// `run(exec)`; where `exec` has a recorder, run without it, which is then told `make_record(result)`.
/// Cost: without a recorder one branch.
template <class Space, class Run, class MakeRecord>
[[nodiscard]] auto run_recorded(Execution<Space> const& exec, Run const& run, MakeRecord const& make_record)
{
  if (exec.recorder() == nullptr) { return run(exec); }
  auto const run_unrecorded = [&] {
    ThreadRecorderScope const scope{nullptr};
    return run(exec.without_recorder());
  };
  auto result = run_unrecorded();
  exec.recorder()->record(make_record(std::as_const(result)));
  return result;
}

/// Throws if a parameter was written since an operation read it.
template <class T>
void expect_unwritten(ParameterRef<T> const& parameter, char const* operation)
{
  expects(!parameter.is_written_since(), operation,
          ": its parameters were written after the operation ran; run backward() before they are stepped");
}

}  // namespace detail
namespace ops {

/// A variable that an operation read or made: its id, and the value until it is given back. One shares the
/// storage of the value it was made from.
template <class Value>
class Recorded {
 public:
  Recorded() = default;
  explicit Recorded(Value const& value)
      : id_{value.id()}, version_{value.version()}, value_{detail::Share<Value>::share(value)}
  {}
  /// By name alone.
  explicit Recorded(VariableId id) : id_{id} {}

  [[nodiscard]] VariableId id() const noexcept { return id_; }
  /// The version of the value when it was recorded.
  [[nodiscard]] std::uint64_t version() const noexcept { return version_; }
  /// The value, or null once it was given back.
  [[nodiscard]] Value const* value() const noexcept { return value_.get(); }
  void give_back() noexcept { value_.reset(); }
  /// Keeps the voxels or points of the value without their features, which then have no channels; gives back a
  /// value that has none.
  void give_features_back() { value_ = detail::without_features(value_.get()); }
  /// Throws if the features were written since they were recorded. What was given back is not looked at.
  void expect_unchanged(char const* operation) const
  {
    detail::expects(value_ == nullptr || value_->id() != id_ || value_->version() == version_, operation,
                    ": a tensor that its gradient reads was written after the operation");
  }

  /// Bytes of the value; 0 once it was given back.
  [[nodiscard]] double bytes() const { return value_ != nullptr ? detail::bytes_of_value(*value_) : 0; }
  void append_ids(std::vector<VariableId>& to) const { to.push_back(id_); }
  void append_versions(std::vector<std::uint64_t>& to) const { to.push_back(version_); }
  template <class Space>
  [[nodiscard]] Value const& in(Replay<Space> const& replay) const
  {
    return replay.template get<Value>(id_);
  }

 private:
  VariableId id_ = 0;
  std::uint64_t version_ = 0;
  std::shared_ptr<Value const> value_;
};

/// As many variables as an operation was given.
template <class Value>
class Recorded<std::vector<Value>> {
 public:
  Recorded() = default;
  explicit Recorded(std::vector<Recorded<Value>> values) : values_{std::move(values)} {}
  Recorded(Value const* first, std::size_t count)
  {
    values_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) { values_.emplace_back(first[i]); }
  }
  explicit Recorded(std::vector<Value> const& values) : Recorded{values.data(), values.size()} {}

  [[nodiscard]] std::size_t size() const noexcept { return values_.size(); }
  [[nodiscard]] Recorded<Value> const& operator[](std::size_t i) const { return values_[i]; }
  void give_back() noexcept
  {
    for (auto& value : values_) { value.give_back(); }
  }
  void give_features_back()
  {
    for (auto& value : values_) { value.give_features_back(); }
  }
  void expect_unchanged(char const* operation) const
  {
    for (auto const& value : values_) { value.expect_unchanged(operation); }
  }

  [[nodiscard]] double bytes() const
  {
    double sum = 0;
    for (auto const& value : values_) { sum += value.bytes(); }
    return sum;
  }
  void append_ids(std::vector<VariableId>& to) const
  {
    for (auto const& value : values_) { value.append_ids(to); }
  }
  void append_versions(std::vector<std::uint64_t>& to) const
  {
    for (auto const& value : values_) { value.append_versions(to); }
  }
  template <class Space>
  [[nodiscard]] std::vector<Value> in(Replay<Space> const& replay) const
  {
    std::vector<Value> result;
    result.reserve(values_.size());
    for (auto const& value : values_) { result.push_back(value.in(replay)); }
    return result;
  }

 private:
  std::vector<Recorded<Value>> values_;
};

/// A record of an operation that can run again on other values.
template <class Space>
class ReplayableRecord : public OperationRecord {
 public:
  /// The versions that inputs() and outputs() had when the operation was recorded, in their order.
  [[nodiscard]] virtual std::vector<std::uint64_t> input_versions() const = 0;
  [[nodiscard]] virtual std::vector<std::uint64_t> output_versions() const = 0;
  /// Whether it read values by a plain pointer, which nobody keeps for it.
  [[nodiscard]] virtual bool reads_plain_pointers() const { return false; }
  /// What keeps the operation from being run on other voxels, or null.
  [[nodiscard]] virtual char const* obstacle() const noexcept { return nullptr; }
  /// Runs the operation on the values that `replay` has for its inputs, and stores its outputs there.
  virtual void run(Replay<Space>& replay, Execution<Space> const& exec) const = 0;
  /// What the operation had to do, as far as the record still holds its values.
  /// Stream: may enqueue kernels, and wait.
  [[nodiscard]] virtual OperationWork work(Execution<Space> const& /*exec*/) const { return {}; }
  /// The record by names alone: a copy that holds no variable's storage.
  [[nodiscard]] virtual std::shared_ptr<ReplayableRecord const> description() const = 0;

  /// Adds the gradients of the inputs and parameters that `gradients` wants, from those that reached the
  /// outputs.
  /// @throws invalid_argument  the operation has no gradient
  /// Stream: enqueues on `exec`, does not wait unless the operation did.
  /// Determinism: same gradients, same bits.
  virtual void backward(Gradients<Space>& /*gradients*/, Execution<Space> const& /*exec*/) const
  {
    detail::fail(this->name(), " has no gradient; what comes before it cannot be trained through it");
  }
  /// Whether there is backward().
  [[nodiscard]] virtual bool has_backward() const noexcept { return false; }
  /// A copy that keeps no more values than backward() reads; null where that is all of them.
  /// @param gradients  says which of them are wanted
  [[nodiscard]] virtual std::shared_ptr<ReplayableRecord const> for_backward(
      [[maybe_unused]] Gradients<Space> const& gradients) const
  {
    return nullptr;
  }
  /// description() of the operation when it runs once more on the same values: what it updates besides its
  /// outputs, running statistics, stays as it is then.
  [[nodiscard]] virtual std::shared_ptr<ReplayableRecord const> recomputation() const
  {
    return description();
  }
  /// Throws if a value that the record keeps, or a parameter that backward() reads, was written since the
  /// operation ran.
  virtual void expect_unchanged() const {}
  /// Throws if any parameter that the operation read was written since, so that it would not give the same
  /// again.
  virtual void expect_parameters_unchanged() const {}
};

/// A record of `output = Derived::compute(inputs..., exec)`, from which all else follows. Inputs
/// and output are tensors, matrices, dense tensors or other copyable values with an `id()` and a `version()`,
/// inputs also a std::vector of them.
///
/// `Derived` is copyable, has `name()` and
/// `Output compute(Inputs const&..., Execution<Space> const& exec) const`, which runs the operation
/// unrecorded. With a gradient it has `backward()`, and `void give_back_unread(Gradients<Space> const&)`, which
/// gives back what that does not read; with running statistics it has `skip_updates()`; where it keeps what
/// compute() found on the way, it has `compute_again()` and `drop_kept()`.
template <class Derived, class Space, class Output, class... Inputs>
class FunctionRecord : public ReplayableRecord<Space> {
 public:
  explicit FunctionRecord(Recorded<Output> output, Recorded<Inputs>... inputs)
      : inputs_{std::move(inputs)...}, output_{std::move(output)}
  {}

  [[nodiscard]] std::vector<VariableId> inputs() const final
  {
    std::vector<VariableId> result;
    std::apply([&](auto const&... input) { (input.append_ids(result), ...); }, inputs_);
    return result;
  }
  [[nodiscard]] std::vector<VariableId> outputs() const final { return {output_.id()}; }
  [[nodiscard]] std::vector<std::uint64_t> input_versions() const final
  {
    std::vector<std::uint64_t> result;
    std::apply([&](auto const&... input) { (input.append_versions(result), ...); }, inputs_);
    return result;
  }
  [[nodiscard]] std::vector<std::uint64_t> output_versions() const final { return {output_.version()}; }
  void run(Replay<Space>& replay, Execution<Space> const& exec) const final
  {
    auto const& derived = static_cast<Derived const&>(*this);
    std::apply(
        [&](auto const&... input) {
          if (exec.recorder() == nullptr) {
            replay.set(output_.id(), derived.compute(input.in(replay)..., exec));
            return;
          }
          auto again = std::make_shared<Derived>(derived);
          replay.set(
              output_.id(),
              detail::run_recorded(
                  exec, [&](auto const& inside) { return again->compute_again(input.in(replay)..., inside); },
                  [&](Output const& y) {
                    again->inputs_ = {Recorded<Inputs>{input.in(replay)}...};
                    again->output_ = Recorded<Output>{y};
                    return again;
                  }));
        },
        inputs_);
  }
  [[nodiscard]] std::shared_ptr<ReplayableRecord<Space> const> description() const final
  {
    return description_of();
  }

  [[nodiscard]] bool has_backward() const noexcept final
  {
    using None = void (ReplayableRecord<Space>::*)(Gradients<Space>&, Execution<Space> const&) const;
    return !std::is_same_v<decltype(&Derived::backward), None>;
  }
  [[nodiscard]] std::shared_ptr<ReplayableRecord<Space> const> recomputation() const final
  {
    auto result = description_of();
    result->skip_updates();
    return result;
  }
  [[nodiscard]] std::shared_ptr<ReplayableRecord<Space> const> for_backward(
      Gradients<Space> const& gradients) const final
  {
    auto result = std::make_shared<Derived>(static_cast<Derived const&>(*this));
    result->give_back_unread(gradients);
    return result;
  }
  void expect_unchanged() const override
  {
    std::apply([&](auto const&... input) { (input.expect_unchanged(this->name()), ...); }, inputs_);
    output_.expect_unchanged(this->name());
  }
  [[nodiscard]] bool reads_plain_pointers() const final
  {
    bool result = false;
    static_cast<Derived const&>(*this).visit_parameters(
        [&](auto const& parameter) { result = result || parameter.is_plain_pointer(); });
    return result;
  }
  void expect_parameters_unchanged() const final
  {
    static_cast<Derived const&>(*this).visit_parameters(
        [&](auto const& parameter) { detail::expect_unwritten(parameter, this->name()); });
  }

  /// A copy of `record` with other variables, by name.
  [[nodiscard]] static std::shared_ptr<Derived> renamed(Derived const& record, Recorded<Output> output,
                                                        Recorded<Inputs>... inputs)
  {
    auto result = std::make_shared<Derived>(record);
    result->inputs_ = {std::move(inputs)...};
    result->output_ = std::move(output);
    return result;
  }

  [[nodiscard]] OperationWork work(Execution<Space> const& /*exec*/) const override
  {
    OperationWork work;
    if (output_.value() != nullptr) { detail::note_output(work, *output_.value()); }
    work.bytes = output_.bytes();
    std::apply([&](auto const&... input) { ((work.bytes += input.bytes()), ...); }, inputs_);
    return work;
  }

  /// Input number `I`.
  template <std::size_t I = 0>
  [[nodiscard]] auto const& input() const noexcept
  {
    return std::get<I>(inputs_);
  }
  [[nodiscard]] Recorded<Output> const& output() const noexcept { return output_; }

  /// Calls `visit(parameter)` for each ParameterRef that compute() reads; by default there are none.
  template <class Visit>
  void visit_parameters(Visit const& /*visit*/) const
  {}
  /// Gives back what backward() does not read; by default it reads all.
  void give_back_unread(Gradients<Space> const& /*gradients*/) {}
  /// Makes compute() leave alone what it updates besides its output; by default there is nothing.
  void skip_updates() {}
  /// compute() that keeps in the record what backward() reads besides inputs and output; by default there is
  /// nothing.
  [[nodiscard]] Output compute_again(Inputs const&... x, Execution<Space> const& exec)
  {
    return static_cast<Derived const&>(*this).compute(x..., exec);
  }
  /// Gives that back.
  void drop_kept() {}

 protected:
  template <std::size_t I = 0>
  [[nodiscard]] auto& input() noexcept
  {
    return std::get<I>(inputs_);
  }
  [[nodiscard]] Recorded<Output>& output() noexcept { return output_; }
  void give_all_back()
  {
    std::apply([](auto&... input) { (input.give_back(), ...); }, inputs_);
    output_.give_back();
  }

 private:
  [[nodiscard]] std::shared_ptr<Derived> description_of() const
  {
    auto result = std::make_shared<Derived>(static_cast<Derived const&>(*this));
    static_cast<FunctionRecord&>(*result).give_all_back();
    result->drop_kept();
    return result;
  }

  std::tuple<Recorded<Inputs>...> inputs_;
  Recorded<Output> output_;
};

}  // namespace ops

}  // namespace v0
}  // namespace tessera
