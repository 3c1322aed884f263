// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"
#include "../support/pickles.hpp"

#include <tessera/io/detail/zip.hpp>

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

using namespace tessera;

namespace {

detail::FileContext const context{"zip", "f"};

std::map<std::string, std::string> contents(std::string const& archive)
{
  auto const bytes = test::bytes_of(archive);
  std::map<std::string, std::string> result;
  for (auto const& entry : detail::ZipReader{bytes, context}.read()) {
    result[std::string{entry.name}] = archive.substr(entry.begin, entry.end - entry.begin);
  }
  return result;
}

/// What is said of the archive, behind the common beginning and without the byte.
std::string error(std::string const& archive)
{
  auto const sentence = test::error_of([&] { static_cast<void>(contents(archive)); });
  auto const colon = sentence.find(": ", sentence.find("zip archive at byte"));
  return colon == std::string::npos ? sentence : sentence.substr(colon + 2);
}

std::vector<test::ZipFile> const two{{"a", "first"}, {"b/c", "second"}};

}  // namespace

TEST_CASE("zip: stored files are found, with 32 and with 64 bits, and a comment behind them")
{
  std::map<std::string, std::string> const expected{{"a", "first"}, {"b/c", "second"}};
  CHECK(contents(test::zip(two)) == expected);
  test::ZipEnd end;
  end.wide = true;
  CHECK(contents(test::zip(two, end)) == expected);
  end.comment = "a comment with PK\x05\x06 in it";
  CHECK(contents(test::zip(two, end)) == expected);
  CHECK(contents(test::zip({})).empty());
  CHECK(contents(test::zip({{"empty", ""}, {"also", ""}})).size() == 2);
}

TEST_CASE("zip: every truncation is refused")
{
  for (bool const wide : {false, true}) {
    test::ZipEnd end;
    end.wide = wide;
    auto const archive = test::zip(two, end);
    for (std::size_t size = 0; size < archive.size(); ++size) {
      CAPTURE(size);
      CHECK_FALSE(error(archive.substr(0, size)).empty());
    }
  }
}

TEST_CASE("zip: a directory that lies is refused")
{
  for (bool const wide : {false, true}) {
    CAPTURE(wide);
    auto const with = [&](auto const& change) {
      test::ZipEnd end;
      end.wide = wide;
      change(end);
      return error(test::zip(two, end));
    };
    CHECK(test::has(with([](auto& end) { end.entries_error = 1; }),
                    wide ? "the directory ends before its 3 files do" : "is said to hold 3 files"));
    CHECK(test::has(with([](auto& end) { end.entries_error = -1; }), "behind its 1 files"));
    CHECK(test::has(with([](auto& end) { end.entries_error = 60'000; }), "is said to hold 60002 files"));
    CHECK(test::has(with([](auto& end) { end.begin_error = 1; }), "the directory is said to be the"));
    CHECK(test::has(with([](auto& end) { end.begin_error = -1; }), "the directory ends before"));
    CHECK(test::has(with([](auto& end) { end.bytes_error = 1; }), "the directory is said to be the"));
    CHECK_FALSE(with([](auto& end) { end.bytes_error = -1; }).empty());
  }
  test::ZipEnd end;
  end.wide = true;
  end.bytes_error = -(std::int64_t{1} << 62);
  CHECK(test::has(error(test::zip(two, end)), "the directory is said to be the"));
  end.bytes_error = 0;
  end.entries_error = std::int64_t{1} << 62;
  CHECK(test::has(error(test::zip(two, end)), "is said to hold"));
}

TEST_CASE("zip: a file whose size, place or name is a lie is refused")
{
  auto const with = [&](auto const& change) {
    auto files = two;
    change(files[0]);
    return error(test::zip(files));
  };
  CHECK(test::has(with([](auto& file) { file.size_error = 1; }), "lies inside the one that begins at 0"));
  CHECK(test::has(with([](auto& file) { file.size_error = 1'000'000; }), "more than the archive"));
  CHECK(test::has(with([](auto& file) { file.size_error = 0xfffffff0; }), "more than the archive"));
  CHECK(test::has(with([](auto& file) { file.offset_error = 1; }), "where none does"));
  CHECK(test::has(with([](auto& file) { file.offset_error = 0x7fffffff; }), "outside of the archive's data"));
  CHECK(test::has(with([](auto& file) { file.local_name = "z"; }), "the file 'a' is named 'z' as well"));
  CHECK(test::has(with([](auto& file) { file.name = "b/c"; }), "two files 'b/c'"));
  CHECK(test::has(with([](auto& file) { file.method = 8; }), "the file 'a' is compressed (method 8)"));
  CHECK(test::has(with([](auto& file) { file.flags = 1; }), "the file 'a' is encrypted"));
  CHECK(with([](auto& file) { file.flags = 0x0808; }).empty());  // sizes behind the data, names in UTF-8
  CHECK(test::has(error(test::zip({{"a", "same"}, {"a", "same"}})), "two files 'a'"));
}
