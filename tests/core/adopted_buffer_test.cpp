// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"
#include "../support/device.hpp"
#include "../support/foreign.hpp"
#include "../support/memory.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>

#include <memory>
#include <new>
#include <utility>
#include <vector>

#ifdef __CUDACC__
#include <tessera/core/execution.cuh>
#endif

using namespace tessera;

TEST_CASE_TEMPLATE("Buffer: adopted memory is used where it is, and its owner released once", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Foreign<float, Space> theirs{{1, 2, 3}, exec};
  {
    auto adopted = Buffer<float, Space>::adopt(theirs.data(), theirs.size(), theirs.owner(), exec);
    CHECK(adopted.data() == theirs.data());
    CHECK(adopted.size() == 3);
    CHECK(download(adopted, exec) == std::vector<float>{1, 2, 3});
    fill_bytes(adopted, 0, exec);
    CHECK(theirs.values(exec) == std::vector<float>{0, 0, 0});

    auto moved = std::move(adopted);
    Buffer<float, Space> assigned;
    assigned = std::move(moved);
    CHECK(assigned.data() == theirs.data());
    CHECK(theirs.released == 0);
    assigned = Buffer<float, Space>{2, exec};
    CHECK(theirs.released == 1);
  }
  CHECK(theirs.released == 1);
  CHECK(theirs.values(exec).size() == 3);
}

TEST_CASE_TEMPLATE("Buffer: an owner that takes a stream gets that of the execution, once", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Foreign<int, Space> theirs{{1, 2}, exec};
  std::vector<StreamHandle> released;
  auto const owner = [&](StreamHandle stream) { released.push_back(stream); };
  {
    auto const adopted = Buffer<int, Space>::adopt(theirs.data(), 2, owner, exec);
    CHECK(released.empty());
  }
  CHECK(released == std::vector<StreamHandle>{exec.stream()});
  CHECK_THROWS_AS((void)(Buffer<int, Space>::adopt(nullptr, 2, owner, exec)), invalid_argument);
  CHECK(released.size() == 2);
}

TEST_CASE_TEMPLATE("Buffer: adopted memory may be empty, unowned, or owned by what cannot be copied", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Foreign<int, Space> theirs{{4, 5}, exec};
  {
    auto const none = Buffer<int, Space>::adopt(nullptr, 0, theirs.owner());
    CHECK(none.empty());
    CHECK(theirs.released == 0);
  }
  CHECK(theirs.released == 1);
  {
    auto const borrowed = Buffer<int, Space>::adopt(theirs.data(), 2, nullptr);
    CHECK(download(borrowed, exec) == std::vector<int>{4, 5});
  }
  CHECK(theirs.values(exec) == std::vector<int>{4, 5});

  auto mine = std::make_unique<Buffer<int, Space>>(upload(std::vector<int>{6}, exec));
  auto* const data = mine->data();
  auto const kept = Buffer<int, Space>::adopt(data, 1, std::move(mine), exec);
  CHECK(download(kept, exec) == std::vector<int>{6});
}

TEST_CASE_TEMPLATE("Buffer: memory that cannot be adopted is refused, and its owner released", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  test::Foreign<float, Space> theirs{{1, 2, 3, 4, 5, 6, 7, 8}, exec};
  auto const adopt = [&](float* data, std::int64_t size) {
    return Buffer<float, Space>::adopt(data, size, theirs.owner(), exec);
  };
  auto* const askew = reinterpret_cast<float*>(reinterpret_cast<char*>(theirs.data()) + 1);
  CHECK_THROWS_WITH_AS((void)adopt(theirs.data(), -1), doctest::Contains("-1 elements"), invalid_argument);
  CHECK_THROWS_WITH_AS((void)adopt(theirs.data(), INT64_MAX), doctest::Contains("elements"),
                       invalid_argument);
  CHECK_THROWS_WITH_AS((void)adopt(nullptr, 3), doctest::Contains("null pointer"), invalid_argument);
  CHECK_THROWS_WITH_AS((void)adopt(askew, 1), doctest::Contains("not aligned to the 4 bytes"),
                       invalid_argument);
  CHECK(theirs.released == 4);
  CHECK_THROWS_WITH_AS((void)(Matrix<float, Space>{adopt(theirs.data() + 1, 4), 2, 2}),
                       doctest::Contains("not aligned to 16 bytes"), invalid_argument);
  CHECK(theirs.released == 5);
  CHECK_NOTHROW((void)(Matrix<float, Space>{adopt(theirs.data() + 4, 4), 2, 2}));
  CHECK(theirs.released == 6);
}

TEST_CASE("Buffer: where there is no memory to keep an owner in, it is released")
{
  int values[2] = {1, 2};
  int released = 0;
  auto const owner = [&](StreamHandle) { ++released; };
  Execution<Host> const exec{1};
  bool thrown = false;
  {
    test::FailingAllocation const fails{0};
    try {
      auto const buffer = Buffer<int, Host>::adopt(values, 2, owner, exec);
    } catch (std::bad_alloc const&) {
      thrown = true;
    }
  }
  CHECK(thrown);
  CHECK(released == 1);
}

#ifdef __CUDACC__
TEST_CASE("Execution: with a stream, a resource and a device it makes no CUDA call, so it needs no GPU")
{
  HostMemoryResource memory;
  auto* const stream = reinterpret_cast<StreamHandle>(std::uintptr_t{64});
  Execution const exec{stream, &memory, 3};
  CHECK(exec.stream() == stream);
  CHECK(&exec.memory() == &memory);
  CHECK(exec.device() == 3);
}
#endif
