// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"
#include "../support/memory.hpp"

#include <tessera/core/buffer.hpp>
#include <tessera/core/matrix.hpp>

#include <numeric>
#include <vector>

using namespace tessera;

TEST_CASE_TEMPLATE("Buffer: uploads, copies, fills and downloads keep the values; moving empties the source",
                   Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<int> values(1000);
  std::iota(values.begin(), values.end(), -500);
  auto buffer = upload(values, exec);
  CHECK(download(buffer, exec) == values);
  auto const second = copy(buffer.data(), buffer.size(), exec);
  fill_bytes(buffer, 0xff, exec);
  CHECK(download(buffer, exec) == std::vector<int>(1000, -1));
  CHECK(download(second, exec) == values);
  auto moved = std::move(buffer);
  CHECK(buffer.empty());
  CHECK(moved.size() == 1000);
  moved = Buffer<int, Space>{0, exec};
  CHECK(download(moved, exec).empty());
}

TEST_CASE_TEMPLATE("Buffer: sizes that cannot be are refused, and more memory than there is throws", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  CHECK_THROWS_AS((Buffer<int, Space>{-1, exec}), invalid_argument);
  CHECK_THROWS_AS((Buffer<double, Space>{INT64_MAX / 2, exec}), invalid_argument);
  CHECK_THROWS_AS((Matrix<float, Space>{-1, 4, exec}), invalid_argument);
  CHECK_THROWS_AS((Matrix<float, Space>{INT64_MAX / 2, 4, exec}), invalid_argument);
  auto const too_much = [&] { return Buffer<std::uint8_t, Space>{std::int64_t{1} << 50, exec}; };
  if constexpr (std::is_same_v<Space, Host>) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // whose operator new ends the program
    CHECK_THROWS_AS(too_much(), std::bad_alloc);
#endif
  } else {
    CHECK_THROWS_AS(too_much(), cuda_error);
  }
  CHECK(download(upload(std::vector<int>{1, 2}, exec), exec) == std::vector<int>{1, 2});  // still usable
}

TEST_CASE_TEMPLATE("Buffer: memory comes from the execution's resource and all of it goes back", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  test::CountedMemory<Space> memory;
  auto const exec = memory.execution(1);
  {
    Buffer<int, Space> a{100, exec};
    Buffer<int, Space> const b{std::move(a)};
    Buffer<int, Space> const none{0, exec};
    CHECK(memory.bytes_in_use() == 400);
    CHECK(memory.allocations() == 1);
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE_TEMPLATE("Matrix: an upload of no columns has no rows, and elements need columns", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const none = upload_matrix(std::vector<float>{}, 0, exec);
  CHECK(none.rows() == 0);
  CHECK(none.columns() == 0);
  CHECK(upload_matrix(std::vector<float>{}, 3, exec).columns() == 3);
  CHECK(Matrix<float, Space>{7, 0, exec}.rows() == 7);
  CHECK_THROWS_WITH_AS((void)upload_matrix(std::vector<float>(5), 0, exec),
                       "upload_matrix: 5 elements in rows of 0 columns; say how many columns the rows have",
                       invalid_argument);
  CHECK_THROWS_WITH_AS((void)upload_matrix(std::vector<float>(5), 2, exec),
                       "upload_matrix: 5 elements do not make rows of 2", invalid_argument);
  CHECK_THROWS_AS((void)upload_matrix(std::vector<float>(5), -5, exec), invalid_argument);
}

TEST_CASE_TEMPLATE("Matrix: moving empties the source", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto first = upload_matrix(std::vector<float>{1, 2, 3, 4, 5, 6}, 2, exec);
  auto second = std::move(first);
  CHECK(first.rows() == 0);
  CHECK(first.columns() == 0);
  CHECK(first.view().size() == 0);
  CHECK(second.rows() == 3);
  first = std::move(second);
  CHECK(second.rows() == 0);
  CHECK(download(first.data(), first.size(), exec) == std::vector<float>{1, 2, 3, 4, 5, 6});
}
