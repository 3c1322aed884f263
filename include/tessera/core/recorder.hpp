// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {

/// The identity of a variable: of the features of a SparseTensor, a Matrix, the values of a DenseTensor or of
/// a parameter. Copies of a tensor share it. No id is used twice in a process; 0 means none.
using VariableId = std::uint64_t;

/// What one operation did, told to a Recorder. Each operation has a struct of its own in ops/ that derives
/// from this one and holds variables, parameters by reference, geometry and policies, but neither kernel maps
/// nor numbers of rows.
class OperationRecord {
 public:
  OperationRecord() = default;
  OperationRecord(OperationRecord const&) = default;
  OperationRecord& operator=(OperationRecord const&) = default;
  virtual ~OperationRecord() = default;

  /// The name of the operation's function, "relu".
  [[nodiscard]] virtual char const* name() const noexcept = 0;
  /// The variables that it read, in the order of the function's arguments.
  [[nodiscard]] virtual std::vector<VariableId> inputs() const = 0;
  [[nodiscard]] virtual std::vector<VariableId> outputs() const = 0;
  /// The parameters that it read; 0 for values that no parameter owns.
  [[nodiscard]] virtual std::vector<VariableId> parameters() const { return {}; }
};

/// Told of every operation that runs with an execution of Execution::with_recorder(): a tape, a trace, a
/// tuner. An operation that is made of others is recorded as one.
///
/// A recorder serves one thread, and must outlive the executions that refer to it.
class Recorder {
 public:
  Recorder() = default;
  Recorder(Recorder const&) = delete;
  Recorder& operator=(Recorder const&) = delete;
  virtual ~Recorder() = default;

  /// Called after an operation has run, in the order of the calls. What it throws reaches the operation's
  /// caller.
  virtual void record(std::shared_ptr<OperationRecord const> operation) = 0;
  /// Called before values are read back to the host, by `what`, the name of the function. A recorder whose
  /// list must not depend on values throws here.
  virtual void reads_on_host(char const* /*what*/) {}
};

/// Passes every record to two recorders, the first one first.
class RecorderChain final : public Recorder {
 public:
  RecorderChain(Recorder& first, Recorder& second) : first_{first}, second_{second} {}

  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    first_.record(operation);
    second_.record(std::move(operation));
  }
  void reads_on_host(char const* what) override
  {
    first_.reads_on_host(what);
    second_.reads_on_host(what);
  }

 private:
  Recorder& first_;
  Recorder& second_;
};

namespace detail {

/// The recorder that functions without an execution ask on this thread, or null.
[[nodiscard]] inline Recorder*& recorder_of_thread() noexcept
{
  static thread_local Recorder* recorder = nullptr;
  return recorder;
}

/// Tells the recorder of this thread that `what` is about to read values back.
inline void report_host_read(char const* what)
{
  if (auto* const recorder = recorder_of_thread()) { recorder->reads_on_host(what); }
}

/// Makes `recorder` the recorder of this thread while it lives; null: none.
class ThreadRecorderScope {
 public:
  explicit ThreadRecorderScope(Recorder* recorder) : before_{std::exchange(recorder_of_thread(), recorder)} {}
  ThreadRecorderScope(ThreadRecorderScope const&) = delete;
  ThreadRecorderScope& operator=(ThreadRecorderScope const&) = delete;
  ~ThreadRecorderScope() { recorder_of_thread() = before_; }

 private:
  Recorder* before_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
