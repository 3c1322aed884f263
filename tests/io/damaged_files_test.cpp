// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include "../support/files.hpp"

#include <tessera/data/detail/random.hpp>
#include <tessera/io/convert.hpp>
#include <tessera/io/detail/file.hpp>
#include <tessera/io/detail/json.hpp>
#include <tessera/io/detail/npy_body.hpp>
#include <tessera/io/detail/pcd_body.hpp>
#include <tessera/io/detail/ply_body.hpp>
#include <tessera/io/detail/point_cloud_file_body.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/pcd.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace tessera;

namespace {

using Bytes = std::vector<std::uint8_t>;

/// `bytes` with one to four faults: a bit flipped, a byte replaced by one that parsers care about, a part cut
/// out, doubled or moved, the end cut off.
Bytes damaged(Bytes bytes, detail::Random& random)
{
  auto const below = [&](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random.next() % n); };
  auto const at = [&](std::size_t index) { return bytes.begin() + static_cast<std::ptrdiff_t>(index); };
  std::string const telling = "0123456789-+.eE\"'{}[](),:\\ \n\r\t\x80\xff" + std::string(1, '\0');
  auto const faults = 1 + below(4);
  for (std::size_t i = 0; i < faults && !bytes.empty(); ++i) {
    auto const where = below(random.chance(0.7) ? std::min<std::size_t>(bytes.size(), 400) : bytes.size());
    auto const length = std::min(bytes.size() - where, 1 + below(12));
    switch (below(6)) {
      case 0: bytes[where] = static_cast<std::uint8_t>(bytes[where] ^ (1U << below(8))); break;
      case 1: bytes[where] = static_cast<std::uint8_t>(telling[below(telling.size())]); break;
      case 2: bytes.erase(at(where), at(where + length)); break;
      case 3: {
        Bytes const part(at(where), at(where + length));
        bytes.insert(at(below(bytes.size())), part.begin(), part.end());
        break;
      }
      case 4: bytes[where] = static_cast<std::uint8_t>(random.next()); break;
      default:
        if (random.chance(0.3)) { bytes.resize(where); }
    }
  }
  return bytes;
}

/// Reads thousands of damaged copies of a file: each is either read or refused by invalid_argument. What else
/// may happen (a crash, another exception, memory out of bounds) fails the test, best under a sanitizer.
template <class Read>
void survive(std::string const& name, int copies, Read const& read)
{
  CAPTURE(name);
  auto const good = test::read_bytes(test::fixture(name));
  REQUIRE_NOTHROW(read(good));
  int refused = 0;
  for (int seed = 0; seed < copies; ++seed) {
    CAPTURE(seed);
    detail::Random random{static_cast<std::uint64_t>(seed), good.size()};
    auto const bad = damaged(good, random);
    try {
      read(bad);
    } catch (invalid_argument const& error) {
      ++refused;
      std::string const sentence = error.what();
      CHECK(test::has(sentence, "who: file"));
      CHECK(sentence.size() < 1000);
      CHECK(std::none_of(sentence.begin(), sentence.end(), [](char c) { return c >= 0 && c < ' '; }));
    }
  }
  CHECK(refused > copies / 10);
}

detail::FileContext context()
{
  return {"who", "file"};
}

}  // namespace

TEST_CASE("safetensors: a damaged file is read or refused")
{
  survive("all_types.safetensors", 6000, [](Bytes const& bytes) {
    try {
      Safetensors const file{bytes, "file"};
      for (auto const& name : file.names()) {
        if (name != "U16") { static_cast<void>(file.to_float(name)); }
      }
    } catch (invalid_argument const& error) {
      throw invalid_argument{std::string{"who: file"} + error.what()};
    }
  });
}

TEST_CASE("torch checkpoint: a damaged file is read and converted, or refused")
{
  for (std::string const name : {"torch_zip", "torch_protocol5", "torch_stream", "torch_detector"}) {
    survive(name + ".pth", 2000, [](Bytes const& bytes) {
      try {
        io::TorchCheckpoint const file{bytes, "file"};
        auto const options = ConvertOptions().swap_axes().fold_batch_norm(1e-3);
        static_cast<void>(io::convert_checkpoint(file, options).text());
      } catch (invalid_argument const& error) {
        throw invalid_argument{std::string{"who: file"} + error.what()};
      }
    });
  }
}

TEST_CASE("npy: a damaged file is read or refused")
{
  for (std::string const name :
       {"float32_2x3", "float64_2x3x2_fortran", "float16_5_version2", "int64_4_version3"}) {
    survive(name + ".npy", 2000, [](Bytes const& bytes) {
      auto const array = detail::parse_npy(bytes, context());
      static_cast<void>(to_float(array.tensor()));
    });
  }
}

TEST_CASE("ply: a damaged file is read or refused")
{
  for (std::string const name : {"ascii", "little", "big"}) {
    survive("faces_first_" + name + ".ply", 4000,
            [](Bytes const& bytes) { detail::parse_ply(bytes, context()).check("who: file"); });
  }
}

TEST_CASE("pcd: a damaged file is read or refused")
{
  for (std::string const name : {"ascii", "binary", "compressed"}) {
    survive("points_" + name + ".pcd", 3000,
            [](Bytes const& bytes) { detail::parse_pcd(bytes, context()).check("who: file"); });
  }
}

TEST_CASE("point cloud file: a damaged file of a detected format is read or refused")
{
  for (std::string const name :
       {"faces_first_ascii.ply", "faces_first_big.ply", "points_binary.pcd", "points_compressed.pcd"}) {
    survive(name, 1000, [](Bytes const& bytes) {
      detail::parse_points(bytes, PointReadOptions{}, context()).check("who: file");
    });
  }
}

TEST_CASE("json: a damaged text is read or refused")
{
  auto const good = test::read_bytes(test::fixture("all_types.safetensors"));
  std::string const text(good.begin() + 8, good.begin() + 8 + good[0] + 256 * good[1]);
  for (int seed = 0; seed < 5000; ++seed) {
    CAPTURE(seed);
    detail::Random random{static_cast<std::uint64_t>(seed)};
    auto const bad = damaged({text.begin(), text.end()}, random);
    try {
      static_cast<void>(
          detail::parse_json({reinterpret_cast<char const*>(bad.data()), bad.size()}, context()));
    } catch (invalid_argument const&) {  // NOLINT(bugprone-empty-catch): refused, as it may be
    }
  }
}
