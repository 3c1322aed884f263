// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/device.hpp"

#include <tessera/hash/coordinate_hash.hpp>

#include <random>
#include <vector>

using namespace tessera;

namespace {

template <class Space>
std::vector<std::uint64_t> hashes_of(std::vector<std::int32_t> const& rows,
                                     std::vector<std::int32_t> const& offsets, Execution<Space> const& exec)
{
  auto const own_rows = upload_matrix(rows, 4, exec);
  if (offsets.empty()) { return download(hash_coordinates<Space>(own_rows, exec), exec); }
  auto const own_offsets = upload_matrix(offsets, 3, exec);
  return download(hash_coordinates<Space>(own_rows, exec, own_offsets), exec);
}

}  // namespace

TEST_CASE_TEMPLATE("hash of coordinates: the numbers of TorchSparse's on a GPU", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<std::int32_t> const rows{0, 0, 0, 0, 0, 1, 2, 3, 0, -1, 0, 0, 1, 2, 3, 0};
  std::vector<std::uint64_t> const expected{0x4d25767f9dce13f5, 0x4475327f98e05411, 0xe922c0b35d49ed60,
                                            0xbe7a5a7751657191};
  CHECK(hashes_of(rows, {}, exec) == expected);
  CHECK(hashes_of<Space>({}, {}, exec).empty());

  // offset after offset; the batch entry stays
  auto const moved = hashes_of<Space>({0, 0, 1, 1, 0, -1, 0, 0}, {0, 0, 0, 0, -1, -1, 1, 1, 2}, exec);
  CHECK(moved.size() == 6);
  CHECK(moved == hashes_of<Space>(
                     {0, 0, 1, 1, 0, -1, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, 0, 1, 2, 3, 0, 0, 1, 2}, {}, exec));
  // a matrix of no offsets moves no row to anywhere
  auto const own_rows = upload_matrix(rows, 4, exec);
  CHECK(hash_coordinates<Space>(own_rows, exec, upload_matrix(std::vector<std::int32_t>{}, 3, exec)).empty());
  CHECK_THROWS_AS(static_cast<void>(hash_coordinates<Space>(
                      own_rows, exec, upload_matrix(std::vector<std::int32_t>{}, 2, exec))),
                  invalid_argument);
  CHECK_THROWS_AS(static_cast<void>(hash_coordinates<Space>(upload_matrix(rows, 4, exec), exec,
                                                            upload_matrix(rows, 4, exec))),
                  invalid_argument);
}

TEST_CASE_TEMPLATE("hash query: the lowest index of a reference, whatever the number", Space,
                   TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  auto const query = [&](std::vector<std::uint64_t> const& queries,
                         std::vector<std::uint64_t> const& references) {
    return download(hash_query(upload(queries, exec), upload(references, exec), exec), exec);
  };
  constexpr auto largest = ~std::uint64_t{0};
  CHECK(query({7, 0, largest, 9, 5}, {5, 7, 0, 7, largest, largest}) ==
        std::vector<std::int32_t>{1, 2, 4, -1, 0});
  CHECK(query({7, largest}, {}) == std::vector<std::int32_t>{-1, -1});
  CHECK(query({}, {1}).empty());

  std::mt19937_64 random{5};
  std::vector<std::uint64_t> references(3000);
  for (auto& reference : references) { reference = random(); }
  std::vector<std::uint64_t> queries;
  std::vector<std::int32_t> expected;
  for (std::size_t i = 0; i < 4000; ++i) {
    auto const row = random() % references.size();
    bool const known = random() % 3 != 0;
    queries.push_back(known ? references[row] : references[row] ^ 1);
    expected.push_back(known ? static_cast<std::int32_t>(row) : -1);
  }
  CHECK(query(queries, references) == expected);
}

TEST_CASE_TEMPLATE("count of indices: how often each occurs, others left out", Space, TESSERA_TEST_SPACES)
{
  if (test::skipped<Space>()) { return; }
  Execution<Space> const exec{};
  std::vector<std::int32_t> const index{2, 0, 2, -1, 4, 2, 3, 100};
  CHECK(download(count_indices(upload(index, exec), 4, exec), exec) == std::vector<std::int32_t>{1, 0, 3, 1});
  CHECK(count_indices(upload(index, exec), 0, exec).empty());
  CHECK_THROWS_WITH_AS(static_cast<void>(count_indices(upload(index, exec), -1, exec)),
                       "count_indices: -1 numbers", invalid_argument);
}
