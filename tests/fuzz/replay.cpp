// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//
// replay <folder or file>...: gives every file to the target once, as libFuzzer would.

#include "fuzz.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

int main(int argc, char** argv)
{
  namespace fs = std::filesystem;
  int files = 0;
  auto const replay = [&](fs::path const& path) {
    std::ifstream file{path, std::ios::binary};
    std::string const text{std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
    static_cast<void>(
        LLVMFuzzerTestOneInput(reinterpret_cast<std::uint8_t const*>(text.data()), text.size()));
    ++files;
  };
  for (int i = 1; i < argc; ++i) {
    if (!fs::is_directory(argv[i])) {
      replay(argv[i]);
      continue;
    }
    for (auto const& item : fs::directory_iterator{argv[i]}) { replay(item.path()); }
  }
  std::printf("%d files\n", files);
  return files > 0 ? 0 : 1;
}
