// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/io/detail/file.hpp>

#include <doctest/doctest.h>

#ifdef __unix__
#include <csignal>
#include <pthread.h>
#include <sys/stat.h>
#endif

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <thread>
#include <vector>

using namespace tessera;

#ifdef __unix__
namespace {

/// What is asked whenever something is to be brought to the disk: whether that shall succeed.
std::function<bool(bool is_folder)>& at_sync()
{
  static std::function<bool(bool is_folder)> action;
  return action;
}

}  // namespace

/// In place of the system's, for all tests of this binary: none of them waits for a disk.
extern "C" int fsync(int descriptor)
{
  struct stat status {};
  bool const known = ::fstat(descriptor, &status) == 0;
  if (!at_sync() || (known && at_sync()(S_ISDIR(status.st_mode)))) { return 0; }
  errno = EIO;
  return -1;
}
#endif

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

TEST_CASE("file: a signal that comes in while a pipe is read or written loses nothing")
{
  struct sigaction action {};
  struct sigaction old {};
  action.sa_handler = [](int) {};
  REQUIRE(::sigaction(SIGUSR1, &action, &old) == 0);  // without SA_RESTART: calls are interrupted
  test::TempDir const dir;
  auto const pipe = dir / "pipe";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
  std::string text(1'000'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) { text[i] = static_cast<char>(i % 251); }

  detail::Bytes bytes;
  std::atomic<int> running{2};
  auto const thread_of = [&](auto body) {
    return std::thread{[&running, body] {
      body();
      --running;
    }};
  };
  auto reader = thread_of([&] { bytes = detail::read_file(detail::FileContext{"reader", pipe}); });
  std::this_thread::sleep_for(std::chrono::milliseconds{20});  // it waits for somebody who writes
  for (int i = 0; i < 5; ++i) {
    ::pthread_kill(reader.native_handle(), SIGUSR1);
    std::this_thread::sleep_for(std::chrono::milliseconds{2});
  }
  auto writer = thread_of([&] { write(pipe, text); });
  for (int i = 0; i < 2000 && running > 0; ++i) {
    if (running == 2) {
      ::pthread_kill(reader.native_handle(), SIGUSR1);
      ::pthread_kill(writer.native_handle(), SIGUSR1);
    }
    std::this_thread::sleep_for(std::chrono::microseconds{50});
  }
  writer.join();
  reader.join();
  ::sigaction(SIGUSR1, &old, nullptr);
  CHECK(std::string{bytes.begin(), bytes.end()} == text);
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

#ifdef __unix__
TEST_CASE("file: a file is on the disk before it has its name, and its name when the writer returns")
{
  test::TempDir const dir;
  write(dir / "file", "old");
  std::vector<std::string> seen;
  at_sync() = [&](bool is_folder) {
    seen.push_back((is_folder ? "folder " : "file ") + text_of(dir / "file"));
    return true;
  };
  write(dir / "file", "new");
  at_sync() = [](bool is_folder) { return is_folder; };
  auto const error = test::error_of([&] { write(dir / "file", "newer"); });
  at_sync() = nullptr;
  CHECK(seen == std::vector<std::string>{"file old", "folder new"});
  CHECK(error == "writer: " + (dir / "file") + ": cannot be written: Input/output error");
  CHECK(text_of(dir / "file") == "new");
  CHECK(dir.num_files() == 1);
}
#endif

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
  CHECK(detail::in_quotes(std::string(96, 'x')) == "'" + std::string(96, 'x') + "'");
  for (std::size_t const before : {93, 94, 95, 96}) {  // a character of three bytes is not cut
    CHECK(detail::in_quotes(std::string(before, 'x') + "\u20ac") ==
          "'" + std::string(before, 'x') + (before == 93 ? "\u20ac'" : "'..."));
  }
  CHECK(detail::in_quotes(std::string(97, '\xe2')).size() == 2 + 4 * 96 + 3);
}

TEST_CASE("file: letters stay as they are, what commands a terminal or turns the direction does not")
{
  for (std::string const text : {"plain", "\u00e9\u00df", "\u4e2d\u6587", "\U0001f600", "\u200b", "\ufeff",
                                 "\u00a0", "\u2027", "\u2065", "\u206a", "\ud7ff", "\ue000", "\U0010ffff"}) {
    CHECK(detail::printable(text) == text);
  }
  CHECK(detail::printable(std::string_view{"\0", 1}) == "\\x00");
  CHECK(detail::printable("\u0080\u009b\u009f") == "\\u0080\\u009b\\u009f");
  CHECK(detail::printable("\u2028\u2029") == "\\u2028\\u2029");
  CHECK(detail::printable("a\u202aa\u202ba\u202ca\u202da\u202e") ==
        "a\\u202aa\\u202ba\\u202ca\\u202da\\u202e");
  CHECK(detail::printable("\u2066\u2067\u2068\u2069") == "\\u2066\\u2067\\u2068\\u2069");
  CHECK(detail::printable("\u061c\u200e\u200f") == "\\u061c\\u200e\\u200f");
}

TEST_CASE("file: bytes that are not UTF-8 are shown by their values")
{
  auto const shown = [](std::initializer_list<unsigned char> bytes) {
    return detail::printable(std::string{bytes.begin(), bytes.end()});
  };
  CHECK(shown({0x80}) == "\\x80");
  CHECK(shown({0x9b, 'A'}) == "\\x9bA");  // CSI as terminals of eight bits have it
  CHECK(shown({0xc3}) == "\\xc3");        // ends within the character
  CHECK(shown({0xe2, 0x80}) == "\\xe2\\x80");
  CHECK(shown({0xf0, 0x9f, 0x98}) == "\\xf0\\x9f\\x98");
  CHECK(shown({0xc1, 0x9b}) == "\\xc1\\x9b");             // too long a form of '['
  CHECK(shown({0xe0, 0x82, 0x9b}) == "\\xe0\\x82\\x9b");  // and of U+009B
  CHECK(shown({0xf0, 0x82, 0x80, 0xae}) == "\\xf0\\x82\\x80\\xae");
  CHECK(shown({0xed, 0xa0, 0x80}) == "\\xed\\xa0\\x80");  // half of a pair of UTF-16
  CHECK(shown({0xf4, 0x90, 0x80, 0x80}) == "\\xf4\\x90\\x80\\x80");
  CHECK(shown({0xf5, 0x80, 0x80, 0x80}) == "\\xf5\\x80\\x80\\x80");
  CHECK(shown({0xff, 0xfe}) == "\\xff\\xfe");
  CHECK(shown({0xc3, 0xa9, 0xc3}) == "\u00e9\\xc3");
}

TEST_CASE("file: a path breaks no sentence")
{
  test::TempDir const dir;
  auto const name = std::string{"a\nb\x1b[2J\u202ec\xff"};
  auto const shown = std::string{"a\\x0ab\\x1b[2J\\u202ec\\xff"};
  CHECK(read_error(dir / name) ==
        "reader: " + (dir / shown) + ": cannot be opened: No such file or directory");
  auto const error = test::error_of([&] { write(dir / ("absent/" + name), "text"); });
  CHECK(error == "writer: " + (dir / ("absent/" + shown)) + ": cannot be opened: No such file or directory");
}

TEST_CASE("file: the beginning can be looked at before memory is taken for the rest")
{
  test::TempDir const dir;
  test::write_bytes(dir / "sparse", std::string{"magic"});
  std::filesystem::resize_file(dir / "sparse", std::uintmax_t{1} << 35);
  detail::FileContext const file{"reader", dir / "sparse"};
  detail::InputFile const input{file};
  CHECK(input.size() == std::uintmax_t{1} << 35);
  CHECK(input.beginning().size() == 1 << 17);
  CHECK(input.beginning()[0] == 'm');
  std::string text(300'000, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) { text[i] = static_cast<char>(i % 251); }
  for (std::size_t const size : {0, 1, 131'071, 131'072, 131'073, 262'144, 300'000}) {
    CAPTURE(size);
    test::write_bytes(dir / "file", text.substr(0, size));
    detail::FileContext const small{"reader", dir / "file"};
    CHECK(detail::InputFile{small}.size() == size);
    auto const bytes = detail::InputFile{small}.all();
    CHECK(std::string{bytes.begin(), bytes.end()} == text.substr(0, size));
  }
}
