// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/allocations.hpp"

#include <tessera/core/detail/cache.hpp>

#include <doctest/doctest.h>

#include <memory>
#include <string>

namespace {

struct NumberKey {
  using Value = int;
  int id;
  friend bool operator==(NumberKey a, NumberKey b) { return a.id == b.id; }
};

/// As NumberKey to the letter, but of another type.
struct TextKey {
  using Value = std::string;
  int id;
  friend bool operator==(TextKey a, TextKey b) { return a.id == b.id; }
};

}  // namespace

TEST_CASE("cache: an object is made once for its key, and keys of two types never meet")
{
  tessera::detail::Cache cache;
  int made = 0;
  auto const number = [&](int id) {
    return cache.get_or_make(NumberKey{id}, [&] { return ++made, std::make_shared<int>(10 * id); });
  };
  CHECK(cache.find(NumberKey{1}) == nullptr);
  auto const one = number(1);
  CHECK(*one == 10);
  CHECK(*number(2) == 20);
  CHECK(number(1) == one);
  CHECK(made == 2);
  CHECK(cache.find(TextKey{1}) == nullptr);
  CHECK(*cache.get_or_make(TextKey{1}, [] { return std::make_shared<std::string>("text"); }) == "text");
  CHECK(cache.find(NumberKey{1}) == one);
}

TEST_CASE("cache: what makes an object may use the cache, and what fails leaves nothing")
{
  tessera::detail::Cache cache;
  auto const outer = cache.get_or_make(NumberKey{1}, [&] {
    return std::make_shared<int>(1 +
                                 *cache.get_or_make(NumberKey{2}, [] { return std::make_shared<int>(2); }));
  });
  CHECK(*outer == 3);
  CHECK(*cache.find(NumberKey{2}) == 2);
  CHECK_THROWS(cache.get_or_make(NumberKey{3}, []() -> std::shared_ptr<int> { throw 1; }));
  CHECK(cache.find(NumberKey{3}) == nullptr);
}

TEST_CASE("cache: looking an object up allocates nothing")
{
  tessera::detail::Cache cache;
  for (int id = 0; id < 20; ++id) {
    cache.get_or_make(NumberKey{id}, [] { return std::make_shared<int>(); });
  }
  test::AllocationWatch const watch;
  CHECK(cache.find(NumberKey{19}) != nullptr);
  CHECK(cache.find(TextKey{0}) == nullptr);
  CHECK(cache.get_or_make(NumberKey{0}, [] { return std::make_shared<int>(); }) != nullptr);
  CHECK(watch.allocations() == 0);
}
