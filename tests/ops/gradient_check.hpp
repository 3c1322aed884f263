// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What a record's backward() gives, and the finite differences that it must agree with.

#include "../nn/tensors.hpp"
#include "../support/device.hpp"

#include <tessera/ops/record.hpp>
#include <tessera/ops/row_statistics.hpp>

#include <cstdint>
#include <memory>
#include <random>
#include <typeindex>
#include <utility>
#include <vector>

namespace test {

/// Keeps the records of what ran.
template <class Space>
class RecordList final : public tessera::Recorder {
 public:
  void record(std::shared_ptr<tessera::OperationRecord const> operation) override
  {
    auto replayable =
        std::dynamic_pointer_cast<tessera::ops::ReplayableRecord<Space> const>(std::move(operation));
    REQUIRE(replayable != nullptr);
    records.push_back(std::move(replayable));
  }

  std::vector<std::shared_ptr<tessera::ops::ReplayableRecord<Space> const>> records;
};

/// Gradients that a test fills and reads.
template <class Space>
class FilledGradients final : public tessera::ops::Gradients<Space> {
  using Base = tessera::ops::Gradients<Space>;

 public:
  void want(tessera::VariableId id) { this->wanted_.insert(id); }
  template <class T>
  void reach(tessera::VariableId id, tessera::Matrix<T, Space>&& gradient)
  {
    this->gradients_.emplace(
        id, typename Base::Entry{std::make_shared<tessera::Matrix<T, Space>>(std::move(gradient)),
                                 std::type_index{typeid(T)}});
  }
  /// The gradient of parameter `id`, [size], is `sums` from here on.
  template <class Sum>
  void watch(tessera::VariableId id, Sum* sums, std::int64_t size)
  {
    tessera::detail::GradientTarget<Space> target{
        [sums](tessera::Execution<Space> const&) -> void* { return sums; }, std::type_index{typeid(Sum)},
        size, nullptr, std::type_index{typeid(Sum)}};
    this->parameters_.emplace(id, target);
  }
  template <class T>
  [[nodiscard]] std::vector<T> on_host(tessera::VariableId id, tessera::Execution<Space> const& exec) const
  {
    auto const view = this->template of<T>(id);
    return download(view.data, view.size(), exec);
  }
};

/// The record of the one operation that `run(exec)` is, as it is kept for backward().
template <class Space, class Run>
auto recorded(tessera::Execution<Space> const& exec, Run const& run)
{
  RecordList<Space> list;
  static_cast<void>(run(exec.with_recorder(list)));
  REQUIRE(list.records.size() == 1);
  return list.records[0];
}

/// backward() of `record` as a tape calls it: on what for_backward() keeps.
template <class Space>
void run_backward(tessera::ops::ReplayableRecord<Space> const& record, FilledGradients<Space>& gradients,
                  tessera::Execution<Space> const& exec)
{
  auto const kept = record.for_backward(gradients);
  (kept != nullptr ? *kept : record).backward(gradients, exec);
}

/// The gradients of the inputs of a record for `cotangent`, the gradient of its first output.
template <class T, class Space>
std::vector<std::vector<T>> input_gradients(tessera::ops::ReplayableRecord<Space> const& record,
                                            tessera::Matrix<T, Space>&& cotangent,
                                            tessera::Execution<Space> const& exec)
{
  FilledGradients<Space> gradients;
  for (auto const id : record.inputs()) { gradients.want(id); }
  gradients.reach(record.outputs().at(0), std::move(cotangent));
  run_backward(record, gradients, exec);
  std::vector<std::vector<T>> result;
  for (auto const id : record.inputs()) {
    result.push_back(gradients.has(id) ? gradients.template on_host<T>(id, exec) : std::vector<T>{});
  }
  return result;
}

inline std::vector<double> random_values(std::size_t count, unsigned seed)
{
  std::mt19937 random{seed};
  std::normal_distribution<double> normal;
  std::vector<double> values(count);
  for (auto& value : values) { value = normal(random); }
  return values;
}

/// Numbers of which no two are equal, so that a small step does not change which is the largest.
inline std::vector<double> distinct_values(std::size_t count, unsigned seed)
{
  std::vector<double> values;
  for (std::size_t i = 0; i < count; ++i) {
    values.push_back(0.01 * static_cast<double>(i) - 0.005 * static_cast<double>(count));
  }
  std::shuffle(values.begin(), values.end(), std::mt19937{seed});
  return values;
}

inline double dot(std::vector<double> const& a, std::vector<double> const& b)
{
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) { sum += a[i] * b[i]; }
  return sum;
}

/// (loss(v + step) - loss(v - step)) / (2 step) for each value.
template <class Loss>
std::vector<double> finite_differences(std::vector<double> values, Loss const& loss, double step = 1e-5)
{
  std::vector<double> result;
  for (auto& value : values) {
    auto const kept = value;
    value = kept + step;
    auto const above = loss(values);
    value = kept - step;
    result.push_back((above - loss(values)) / (2 * step));
    value = kept;
  }
  return result;
}

template <class T, class Space>
std::vector<T> on_host(tessera::Matrix<T, Space> const& matrix, tessera::Execution<Space> const& exec)
{
  return download(matrix.data(), matrix.size(), exec);
}
template <class T, class Space>
std::vector<T> on_host(tessera::Buffer<T, Space> const& buffer, tessera::Execution<Space> const& exec)
{
  return download(buffer, exec);
}

/// `count` voxels of a small grid in the first two axes, in entries 0 and 1.
template <int Dim>
std::vector<tessera::Coordinate<Dim>> small_grid(int count)
{
  std::vector<tessera::Coordinate<Dim>> rows;
  for (int i = 0; i < count; ++i) {
    tessera::Coordinate<Dim> row;
    row.batch = i * 7 % 5 < 3 ? 0 : 1;
    for (int axis = 0; axis < Dim; ++axis) { row.position[axis] = 0; }
    row.position[0] = Dim == 1 ? i : i % 6;
    if constexpr (Dim > 1) { row.position[1] = i / 6; }
    rows.push_back(row);
  }
  return rows;
}

/// The exchanges of ranks that one thread plays in turn: the first calls note what each has, the later ones give
/// all ranks the sum.
template <class Space>
class PlayedExchange final : public tessera::ops::RowExchange<Space> {
 public:
  PlayedExchange(int own, int ranks) : rank_{own}, size_{ranks} {}

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  void all_reduce_sum(float* data, std::int64_t size, tessera::Execution<Space> const& exec) override
  {
    reduce(data, size, exec);
  }
  void all_reduce_sum(double* data, std::int64_t size, tessera::Execution<Space> const& exec) override
  {
    reduce(data, size, exec);
  }

  std::vector<std::vector<double>> sent;       // by each call
  std::vector<std::vector<double>> to_others;  // what the other ranks sent, together

 private:
  template <class T>
  void reduce(T* data, std::int64_t size, tessera::Execution<Space> const& exec)
  {
    auto const own = download(data, size, exec);
    auto const call = sent.size();
    sent.emplace_back(own.begin(), own.end());
    if (call >= to_others.size()) { return; }
    std::vector<T> sum;
    for (std::size_t i = 0; i < own.size(); ++i) {
      sum.push_back(own[i] + static_cast<T>(to_others[call][i]));
    }
    tessera::detail::Transfer<Space>::from_host(data, sum.data(), sum.size() * sizeof(T), exec);
  }

  int rank_;
  int size_;
};

/// What rank `rank` of `known.size()` gets from the others in each of the first `calls` exchanges, if each rank sent
/// `known[rank]`.
inline std::vector<std::vector<double>> sent_by_others(
    std::vector<std::vector<std::vector<double>>> const& known, std::size_t rank, std::size_t calls)
{
  std::vector<std::vector<double>> result;
  for (std::size_t call = 0; call < calls; ++call) {
    std::vector<double> others;
    for (std::size_t other = 0; other < known.size(); ++other) {
      auto const& theirs = known[other][call];
      others.resize(theirs.size());
      for (std::size_t i = 0; i < theirs.size() && other != rank; ++i) { others[i] += theirs[i]; }
    }
    result.push_back(others);
  }
  return result;
}

}  // namespace test
