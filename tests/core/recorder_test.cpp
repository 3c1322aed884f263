// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/small.hpp"

#include <tessera/core/matrix.hpp>

#include <doctest/doctest.h>

#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

namespace {

struct NamedRecord final : OperationRecord {
  explicit NamedRecord(char const* given) : given_name{given} {}
  [[nodiscard]] char const* name() const noexcept override { return given_name; }
  [[nodiscard]] std::vector<VariableId> inputs() const override { return {}; }
  [[nodiscard]] std::vector<VariableId> outputs() const override { return {}; }

  char const* given_name;
};

struct Names final : Recorder {
  void record(std::shared_ptr<OperationRecord const> operation) override
  {
    names.emplace_back(operation->name());
  }
  void reads_on_host(char const* what) override { names.push_back(std::string{"read by "} + what); }

  std::vector<std::string> names;
};

}  // namespace

TEST_CASE("Execution: carries a recorder, and copies of it do; without_recorder() does not")
{
  Names recorder;
  Execution<Host> const plain{1};
  CHECK(plain.recorder() == nullptr);
  auto const recording = plain.with_recorder(recorder);
  auto const copied = recording;
  CHECK(copied.recorder() == &recorder);
  CHECK(copied.without_recorder().recorder() == nullptr);
  CHECK(copied.num_threads() == 1);
  CHECK(&copied.memory() == &plain.memory());
}

TEST_CASE("Execution: copying one allocates nothing, with a recorder or without")
{
  Names recorder;
  Execution<Host> const plain{2};
  test::AllocationWatch const watch;
  auto const recording = plain.with_recorder(recorder);
  auto const copied = recording.without_recorder();
  CHECK(watch.allocations() == 0);
  CHECK(copied.num_threads() == 2);
}

TEST_CASE("Recorder: is told of downloads by an execution that carries it, and by no other")
{
  Names recorder;
  Execution<Host> const plain{1};
  auto const values = upload(std::vector<int>{1, 2, 3}, plain);
  CHECK(download(values, plain) == std::vector<int>{1, 2, 3});
  CHECK(recorder.names.empty());
  CHECK(download(values, plain.with_recorder(recorder)) == std::vector<int>{1, 2, 3});
  CHECK(recorder.names == std::vector<std::string>{"read by download"});
}

TEST_CASE("RecorderChain: tells both recorders, the first one first")
{
  Names first;
  Names second;
  RecorderChain chain{first, second};
  Execution<Host> const plain{1};
  auto const exec = plain.with_recorder(chain);
  exec.recorder()->record(std::make_shared<NamedRecord>("a"));
  exec.recorder()->reads_on_host("b");
  CHECK(first.names == std::vector<std::string>{"a", "read by b"});
  CHECK(second.names == first.names);
}

TEST_CASE("Matrix: its id moves with the elements, and none is used twice")
{
  Execution<Host> const exec{1};
  Matrix<float, Host> none;
  CHECK(none.id() == 0);
  std::set<VariableId> seen;
  for (int i = 0; i < 10; ++i) {  // the memory is reused, the id is not
    Matrix<float, Host> const matrix{2, 3, exec};
    CHECK(matrix.id() != 0);
    CHECK(seen.insert(matrix.id()).second);
  }
  Matrix<float, Host> first{2, 3, exec};
  Matrix<float, Host> empty{0, 3, exec};
  CHECK(empty.id() != 0);  // although there is no memory
  CHECK(empty.id() != first.id());
  auto const id = first.id();
  Matrix<float, Host> second{std::move(first)};
  CHECK(second.id() == id);
  CHECK(first.id() == 0);  // NOLINT(bugprone-use-after-move)
  first = std::move(second);
  CHECK(first.id() == id);
}

TEST_CASE("Matrix: ids made by several threads at once differ")
{
  constexpr int num_threads = 4;
  constexpr int each = 200;
  std::vector<std::vector<VariableId>> made(num_threads);
  std::vector<std::thread> threads;
  for (auto& ids : made) {
    threads.emplace_back([&ids] {
      for (int i = 0; i < each; ++i) { ids.push_back(detail::next_variable_id()); }
    });
  }
  for (auto& thread : threads) { thread.join(); }
  std::set<VariableId> all;
  for (auto const& ids : made) { all.insert(ids.begin(), ids.end()); }
  CHECK(all.size() == num_threads * each);
}

TEST_CASE("Matrix: mark_written() raises the version, of every handle on the elements")
{
  Execution<Host> const exec{1};
  Matrix<float, Host> const matrix{2, 3, exec};
  auto const other = detail::ShareMatrix::share(matrix);
  CHECK(matrix.version() == 0);
  matrix.mark_written();
  CHECK(matrix.version() == 1);
  CHECK(other.version() == 1);
  CHECK(other.id() == matrix.id());
  CHECK(other.data() == matrix.data());
}
