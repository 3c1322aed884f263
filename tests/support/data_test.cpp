// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#include "data.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

namespace {

/// Sets TESSERA_TEST_DATA for one scope.
class DataRoot {
 public:
  explicit DataRoot(std::string const& path)
  {
    if (char const* old = std::getenv(name)) { old_ = old; }
    ::setenv(name, path.c_str(), 1);
  }
  ~DataRoot()
  {
    if (old_) {
      ::setenv(name, old_->c_str(), 1);
    } else {
      ::unsetenv(name);
    }
  }
  DataRoot(DataRoot const&) = delete;
  DataRoot& operator=(DataRoot const&) = delete;

 private:
  static constexpr char const* name = "TESSERA_TEST_DATA";
  std::optional<std::string> old_;
};

}  // namespace

TEST_CASE("data: a file is looked for below TESSERA_TEST_DATA")
{
  namespace fs = std::filesystem;
  fs::path const folder = fs::temp_directory_path() / "tessera_data_test";
  fs::create_directories(folder / "golden");
  std::ofstream{folder / "golden" / "one.bin"} << '1';

  {
    DataRoot const root{folder.string()};
    CHECK(test::data_root() == folder.string());
    CHECK(test::find_data("golden/one.bin") == (folder / "golden/one.bin").string());
    CHECK(test::data_file("golden/one.bin") == test::find_data("golden/one.bin"));
    CHECK_FALSE(test::find_data("golden/two.bin").has_value());
    std::ofstream{folder / "golden" / "three.bin"} << '3';
    CHECK(test::data_files("golden", ".bin") ==
          std::vector<std::string>{(folder / "golden/one.bin").string(),
                                   (folder / "golden/three.bin").string()});
  }
  {
    DataRoot const root{(folder / "absent").string()};
    CHECK_FALSE(test::find_data("golden/one.bin").has_value());
  }
  fs::remove_all(folder);
}
