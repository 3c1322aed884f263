// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace test {

/// A new folder, removed with all that is in it.
class TempDir {
 public:
  TempDir()
  {
    std::random_device random;
    path_ = std::filesystem::temp_directory_path() /
            ("tessera-test-" + std::to_string(random()) + "-" + std::to_string(random()));
    std::filesystem::create_directories(path_);
  }
  TempDir(TempDir const&) = delete;
  TempDir& operator=(TempDir const&) = delete;
  ~TempDir()
  {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  /// Path of the file `name` in the folder.
  std::string operator/(std::string const& name) const { return (path_ / name).string(); }

  /// How many files there are, so that a test sees what was left behind.
  std::ptrdiff_t num_files() const
  {
    return std::distance(std::filesystem::directory_iterator{path_}, std::filesystem::directory_iterator{});
  }

 private:
  std::filesystem::path path_;
};

/// Path of a copy of the file `name` of tests/fixtures, which is part of the program.
std::string fixture(std::string const& name);

inline std::vector<std::uint8_t> read_bytes(std::string const& path)
{
  std::ifstream file{path, std::ios::binary};
  std::string const text{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
  return {text.begin(), text.end()};
}

template <class Bytes>
void write_bytes(std::string const& path, Bytes const& bytes)
{
  std::ofstream file{path, std::ios::binary};
  file.write(reinterpret_cast<char const*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// The sentence of the invalid_argument that `action` throws; empty if it throws none.
template <class Action>
std::string error_of(Action const& action)
{
  try {
    action();
  } catch (tessera::invalid_argument const& error) {
    return error.what();
  }
  return {};
}

/// Whether `text` has `part` in it.
inline bool has(std::string const& text, std::string const& part)
{
  return text.find(part) != std::string::npos;
}

}  // namespace test
