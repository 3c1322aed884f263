// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <locale>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

using namespace tessera;

namespace {

/// Digits in groups of two, a comma for the point: what no file may have.
class Grouping : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\2"; }
};

/// What the classic locale's stream writes, the oracle.
template <class T>
std::string streamed(T const& value)
{
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << value;
  return text.str();
}

}  // namespace

TEST_CASE("error: parts of a sentence are text, numbers, truth values and addresses")
{
  std::string const text{"text"};
  CHECK(detail::concat() == "");
  CHECK(detail::concat("a ", text, ' ', std::string_view{"view"}, std::string{}) == "a text view");
  CHECK(detail::concat(true, false) == "10");
  CHECK(detail::concat(std::uint8_t{65}, ' ', std::int8_t{-1}) == "65 -1");
  CHECK(detail::concat(std::numeric_limits<std::int64_t>::min(), ' ',
                       std::numeric_limits<std::uint64_t>::max()) ==
        "-9223372036854775808 18446744073709551615");
  int const value = 0;
  CHECK(detail::concat(static_cast<void const*>(&value)) == streamed(static_cast<void const*>(&value)));
}

TEST_CASE("error: floating-point numbers have the six digits that a stream gives them")
{
  for (double const value : {0.0, -0.0, 1.0, 0.1, 1.0 / 3, 100000.0, 123456.7, 1e6, 1234567.0, 1e-4, 1e-5,
                             -2.5, 1e300, 5e-324, std::numeric_limits<double>::infinity()}) {
    CHECK(detail::concat(value) == streamed(value));
    CHECK(detail::concat(static_cast<float>(value)) == streamed(static_cast<float>(value)));
  }
  std::mt19937 random{1};
  for (int i = 0; i < 10'000; ++i) {
    std::uint64_t const bits = std::uint64_t{random()} << 32 | random();
    double value = 0;
    static_assert(sizeof(bits) == sizeof(value));
    std::copy_n(reinterpret_cast<char const*>(&bits), sizeof(value), reinterpret_cast<char*>(&value));
    if (value != value) { continue; }
    CAPTURE(value);
    CHECK(detail::concat(value) == streamed(value));
  }
}

TEST_CASE("error: a list has its values in brackets, also none and empty ones")
{
  CHECK(detail::list(std::vector<int>{}) == "[]");
  CHECK(detail::list(std::array<std::int64_t, 3>{1, -2, 1234567}) == "[1, -2, 1234567]");
  CHECK(detail::concat("sizes ", std::vector<int>{3, 1}, ", of ", std::string{"x"}) == "sizes [3, 1], of x");
  CHECK(detail::list(std::vector<std::string>{"", "a", ""}) == "[, a, ]");
}

TEST_CASE("error: the global locale changes no byte")
{
  auto const write = [] {
    return detail::concat(1234567, ' ', 1234.5, ' ', 12345.0F) + detail::list(std::vector<int>{1024, 98765});
  };
  auto const before = write();
  auto const locale = std::locale::global(std::locale{std::locale::classic(), new Grouping});
  std::ostringstream stream;
  stream << 1234567;
  auto const after = write();
  std::locale::global(locale);
  REQUIRE(stream.str() == "1.23.45.67");  // the locale is what it should be
  CHECK(after == before);
  CHECK(before == "1234567 1234.5 12345[1024, 98765]");
}

TEST_CASE("error: fail() throws its parts as one sentence, whatever the function returns")
{
  auto const half_of = [](int value) -> int {
    if (value % 2 == 0) { return value / 2; }
    detail::fail("half_of: ", value, " is odd");
  };
  CHECK(half_of(6) == 3);
  CHECK_THROWS_WITH_AS(static_cast<void>(half_of(7)), "half_of: 7 is odd", invalid_argument);
}
