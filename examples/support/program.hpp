// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// What the programs among the examples share: how they measure, write numbers and fail.

#include "command_line.hpp"
#include "interrupt.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

namespace program {

/// Something failed for a reason that a user can do something about.
class Failure : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class Clock {
 public:
  [[nodiscard]] double milliseconds() const
  {
    return std::chrono::duration<double, std::milli>{std::chrono::steady_clock::now() - start_}.count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// 1234567 as "1,234,567".
[[nodiscard]] inline std::string with_commas(std::int64_t number)
{
  auto text = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), 1, ',');
  }
  return text;
}

/// `text` with what would move the cursor, hide or turn round what follows on a terminal shown as `\\x1b`:
/// control characters, and the marks of bidirectional text.
[[nodiscard]] inline std::string printable(std::string const& text)
{
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    auto const byte = [&](std::size_t k) {
      return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0U;
    };
    std::size_t hidden = byte(0) < 0x20 || byte(0) == 0x7f ? 1 : 0;
    if (byte(0) == 0xc2 && byte(1) >= 0x80 && byte(1) < 0xa0) { hidden = 2; }  // U+0080 to U+009F
    if (byte(0) == 0xe2 && byte(1) == 0x80 && (byte(2) == 0x8e || byte(2) == 0x8f)) { hidden = 3; }
    if (byte(0) == 0xe2 && byte(1) == 0x80 && byte(2) >= 0xa8 && byte(2) <= 0xae) { hidden = 3; }
    if (byte(0) == 0xe2 && byte(1) == 0x81 && byte(2) >= 0xa6 && byte(2) <= 0xa9) { hidden = 3; }
    if (hidden == 0) { result += text[i]; }
    for (std::size_t k = 0; k < hidden; ++k) {
      char shown[8];
      std::snprintf(shown, sizeof(shown), "\\x%02x", byte(k));
      result += shown;
    }
    i += hidden > 1 ? hidden - 1 : 0;
  }
  return result;
}

/// What took how long, of one run or the median of several.
struct Stage {
  char const* name = "";
  double milliseconds = 0;
};

/// What names of files to write begin with: `output` itself, or `name` in it if it is a folder or ends as
/// one. The folder exists afterwards.
/// @throws Failure  there is no such folder
[[nodiscard]] inline std::string output_prefix(std::string const& output, char const* name)
{
  namespace fs = std::filesystem;
  fs::path prefix{output};
  std::error_code error;
  bool const folder = output.empty() || output.back() == '/' || fs::is_directory(prefix, error);
  if (folder) { prefix /= name; }
  auto const parent = prefix.parent_path();
  if (!parent.empty() && !fs::is_directory(parent, error)) {
    if (folder) { fs::create_directories(parent, error); }
    if (!fs::is_directory(parent, error)) {
      throw Failure{"--output: there is no folder " + parent.string()};
    }
  }
  return prefix.string();
}

/// @throws Failure  the folder that the file is to be in does not exist; `option` begins the sentence
inline void expect_folder_of(std::string const& file, char const* option)
{
  auto const folder = std::filesystem::path{file}.parent_path();
  std::error_code error;
  if (!folder.empty() && !std::filesystem::is_directory(folder, error)) {
    throw Failure{std::string{option} + ": there is no folder " + folder.string()};
  }
}

/// `<name>: <text>` in one line, whatever is in `text`.
inline int complain(char const* name, std::string text, int status)
{
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::fprintf(stderr, "%s: %s\n", name, printable(text).c_str());
  return status;
}

/// What main() does: `parse(arguments, help)` gives options with a member `help`; the help is printed, or the
/// options run. Returns the exit status: 2 for a command line that is not valid, 1 for any other failure;
/// after Ctrl-C what was begun is undone, and the program ends as the signal would have ended it.
template <class Parse, class Run>
[[nodiscard]] int run_program(char const* name, int argc, char** argv, Parse const& parse, Run const& run)
{
  try {
    std::string help;
    auto const options = parse(std::vector<std::string>{argv + (argc > 0 ? 1 : 0), argv + argc}, help);
    if (options.help) {
      std::fputs(help.c_str(), stdout);
    } else {
      catch_interrupts();
      run(options);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      throw Failure{"the results cannot be printed"};
    }
    return 0;
  } catch (Interrupted const& interrupted) {
    complain(name, interrupted.what(), 1);
    std::fflush(nullptr);
    end_by_signal(interrupted.signal());
    return 1;
  } catch (UsageError const& error) {
    return complain(name, error.what(), 2);
  } catch (std::bad_alloc const&) {
    return complain(name, "there is not enough memory", 1);
  } catch (std::exception const& error) {
    return complain(name, error.what(), 1);
  }
}

}  // namespace program
