// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/core/error.hpp>
#include <tessera/io/detail/file.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

[[nodiscard]] inline std::array<std::uint32_t, 256> make_crc_table() noexcept
{
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t c = n;
    for (int k = 0; k < 8; ++k) { c = (c & 1U) != 0 ? 0xedb88320U ^ (c >> 1) : c >> 1; }
    table[n] = c;
  }
  return table;
}

/// CRC-32 of PNG, zlib and Ethernet.
[[nodiscard]] inline std::uint32_t crc32(std::string_view bytes)
{
  static auto const table = make_crc_table();
  std::uint32_t crc = 0xffffffffU;
  for (char const c : bytes) { crc = table[(crc ^ static_cast<unsigned char>(c)) & 0xffU] ^ (crc >> 8); }
  return ~crc;
}

/// Adler-32 of zlib.
[[nodiscard]] inline std::uint32_t adler32(std::string_view bytes)
{
  std::uint32_t a = 1;
  std::uint32_t b = 0;
  for (char const c : bytes) {
    a = (a + static_cast<unsigned char>(c)) % 65521U;
    b = (b + a) % 65521U;
  }
  return (b << 16) | a;
}

[[nodiscard]] inline std::string big_endian(std::uint32_t value)
{
  return {static_cast<char>(value >> 24), static_cast<char>((value >> 16) & 0xffU),
          static_cast<char>((value >> 8) & 0xffU), static_cast<char>(value & 0xffU)};
}

[[nodiscard]] inline std::string png_chunk(std::string const& type, std::string const& content)
{
  std::string const body = type + content;
  return big_endian(static_cast<std::uint32_t>(content.size())) + body + big_endian(crc32(body));
}

/// A zlib stream of stored blocks, which any inflater reads.
[[nodiscard]] inline std::string zlib_stored(std::string_view bytes)
{
  constexpr std::size_t longest = 65535;
  std::string stream{"\x78\x01"};
  stream.reserve(bytes.size() + bytes.size() / longest * 5 + 16);
  for (std::size_t at = 0; at < bytes.size(); at += longest) {
    auto const part = bytes.substr(at, longest);
    auto const low = static_cast<char>(part.size() & 0xffU);
    auto const high = static_cast<char>(part.size() >> 8);
    stream += {at + longest >= bytes.size() ? '\x01' : '\x00', low, high, static_cast<char>(~low),
               static_cast<char>(~high)};
    stream += part;
  }
  return stream + big_endian(adler32(bytes));
}

}  // namespace detail

/// Writes a picture as PNG, 8 bits a channel, not compressed; the file takes its name when it is complete.
///
/// @param rgb  [height, width, 3], row-major from the top left corner
/// @throws invalid_argument  width or height is not in [1, 16384], `rgb` has another size, or the file cannot
///                           be written
///
/// Cost: some passes over the picture, which is in memory a few times meanwhile. Determinism: same picture,
/// same bytes.
/// Source: PNG specification (ISO/IEC 15948), RFC 1950, RFC 1951.
inline void write_png(std::string const& path, int width, int height, std::vector<std::uint8_t> const& rgb)
{
  constexpr int largest = 16384;
  detail::FileContext const file{"write_png", path};
  file.expects(width >= 1 && width <= largest && height >= 1 && height <= largest, "a picture of ", width,
               " x ", height, " pixels; each side must lie in [1, ", largest, "]");
  auto const row = 3 * static_cast<std::size_t>(width);
  file.expects(rgb.size() == row * static_cast<std::size_t>(height), "a picture of ", width, " x ", height,
               " pixels with ", rgb.size(), " values instead of ", row * static_cast<std::size_t>(height));

  std::string scanlines;
  scanlines.reserve((row + 1) * static_cast<std::size_t>(height));
  for (std::size_t at = 0; at < rgb.size(); at += row) {
    scanlines += '\0';  // no filter
    scanlines.append(reinterpret_cast<char const*>(rgb.data()) + at, row);
  }
  std::string header = detail::big_endian(static_cast<std::uint32_t>(width)) +
                       detail::big_endian(static_cast<std::uint32_t>(height));
  header += {'\x08', '\x02', '\0', '\0', '\0'};  // 8 bits, RGB, deflate, filter method 0, not interlaced
  detail::AtomicFile to{file};
  to.write(std::string_view{"\x89PNG\r\n\x1a\n", 8});
  to.write(detail::png_chunk("IHDR", header));
  to.write(detail::png_chunk("IDAT", detail::zlib_stored(scanlines)));
  to.write(detail::png_chunk("IEND", ""));
  to.commit();
}

}  // namespace v0
}  // namespace tessera
