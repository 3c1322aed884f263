// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>

#include <doctest/doctest.h>

#ifdef __unix__
#include <sys/stat.h>
#endif

#include <filesystem>
#include <string>
#include <thread>

using namespace tessera;

namespace {

std::string read_error(std::string const& path, std::uintmax_t limit = detail::max_file_bytes)
{
  return test::error_of([&] {
    static_cast<void>(detail::read_file(detail::FileContext{"reader", path}, limit));
  });
}

std::string text_of(std::string const& path)
{
  auto const bytes = test::read_bytes(path);
  return {bytes.begin(), bytes.end()};
}

void write(std::string const& path, std::string const& text)
{
  detail::AtomicFile to{detail::FileContext{"writer", path}};
  to.write(text);
  to.commit();
}

}  // namespace

TEST_CASE("file: what cannot be read is refused with the reader, the path and the reason")
{
  test::TempDir const dir;
  CHECK(read_error(dir / "absent") ==
        "reader: " + (dir / "absent") + ": cannot be opened: No such file or directory");
  CHECK(read_error(dir / "") == "reader: " + (dir / "") + ": is a directory");
  CHECK(read_error("") == "reader: '': cannot be opened: No such file or directory");
  test::write_bytes(dir / "ten", std::string(10, 'x'));
  CHECK(read_error(dir / "ten", 9) == "reader: " + (dir / "ten") + ": holds 10 bytes; at most 9 are read");
  CHECK(read_error(dir / "ten", 10).empty());
  CHECK(read_error(dir / "ten/below") ==
        "reader: " + (dir / "ten/below") + ": cannot be opened: Not a directory");
}

TEST_CASE("file: an empty file is read as no bytes, any other as its bytes")
{
  test::TempDir const dir;
  test::write_bytes(dir / "empty", std::string{});
  CHECK(detail::read_file(detail::FileContext{"reader", dir / "empty"}).empty());
  test::write_bytes(dir / "bytes", std::string("\0\xff\r\n", 4));
  CHECK(detail::read_file(detail::FileContext{"reader", dir / "bytes"}) == detail::Bytes{0, 255, 13, 10});
}

#ifdef __unix__
TEST_CASE("file: a device is refused, a pipe is read to its end within the limit")
{
  CHECK(read_error("/dev/zero") == "reader: /dev/zero: is not a regular file");
  test::TempDir const dir;
  auto const pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  for (bool const fits : {true, false}) {
    CAPTURE(fits);
    std::thread feeder{[&] { write(pipe, std::string(200'000, 'p')); }};
    if (fits) {
      CHECK(detail::read_file(detail::FileContext{"reader", pipe}).size() == 200'000);
    } else {
      CHECK(read_error(pipe, 199'999) ==
            "reader: " + pipe + ": holds more than the 199999 bytes that are read at most");
    }
    feeder.join();
  }
}

TEST_CASE("file: a device is written to, not replaced")
{
  write("/dev/null", "lost");
  CHECK(std::filesystem::is_character_file("/dev/null"));
}

TEST_CASE("file: a link is followed, and the access rights of the file behind it stay")
{
  test::TempDir const dir;
  write(dir / "real", "old");
  std::filesystem::permissions(dir / "real",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::create_symlink(dir / "real", dir / "link");
  write(dir / "link", "new");
  CHECK(std::filesystem::is_symlink(dir / "link"));
  CHECK(text_of(dir / "real") == "new");
  CHECK(std::filesystem::status(dir / "real").permissions() ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}
#endif

TEST_CASE("file: a written file takes its name only when it is complete, and replaces the old one")
{
  test::TempDir const dir;
  write(dir / "file", "old");
  {
    detail::AtomicFile to{detail::FileContext{"writer", dir / "file"}};
    to.write("half of a new o");
    CHECK(text_of(dir / "file") == "old");
    CHECK(dir.num_files() == 2);
  }
  CHECK(text_of(dir / "file") == "old");
  CHECK(dir.num_files() == 1);  // nothing is left of the file that was given up
  write(dir / "file", "new");
  CHECK(text_of(dir / "file") == "new");
  CHECK(dir.num_files() == 1);
}

TEST_CASE("file: what cannot be written is refused")
{
  test::TempDir const dir;
  auto const error = [](std::string const& path) { return test::error_of([&] { write(path, "text"); }); };
  CHECK(error(dir / "") == "writer: " + (dir / "") + ": is a directory");
  CHECK(error(dir / "absent/file") ==
        "writer: " + (dir / "absent/file") + ": cannot be opened: No such file or directory");
#ifdef __linux__
  CHECK(error("/dev/full") == "writer: /dev/full: cannot be written: No space left on device");
#endif
}

TEST_CASE("file: text from a file is quoted printable and short")
{
  CHECK(detail::in_quotes("a b") == "'a b'");
  CHECK(detail::in_quotes("\n\x1b[31m\x7f") == "'\\x0a\\x1b[31m\\x7f'");
  CHECK(detail::in_quotes(std::string(1000, 'x')) == "'" + std::string(96, 'x') + "'...");
}
