// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// An open file of the system's; a call that a signal interrupts is made again. What fails leaves errno.
class Descriptor {
 public:
  Descriptor() = default;
  /// Opens `path`; `flags` are those of open(2).
  Descriptor(char const* path, int flags) noexcept
  {
    do {
      number_ = ::open(path, flags | O_CLOEXEC, 0666);
    } while (number_ < 0 && errno == EINTR);
  }
  Descriptor(Descriptor&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
  Descriptor& operator=(Descriptor&& other) noexcept
  {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() { static_cast<void>(close()); }

  [[nodiscard]] bool is_open() const noexcept { return number_ >= 0; }
  [[nodiscard]] int number() const noexcept { return number_; }

  /// Up to `size` bytes into `to`, fewer only where the file ends or reading fails, which sets `failed`.
  [[nodiscard]] std::size_t read(std::uint8_t* to, std::size_t size, bool& failed) const noexcept
  {
    std::size_t got = 0;
    while (got < size) {
      auto const more = ::read(number_, to + got, size - got);
      if (more == 0) { break; }
      if (more > 0) {
        got += static_cast<std::size_t>(more);
      } else if (errno != EINTR) {
        failed = true;
        break;
      }
    }
    return got;
  }

  [[nodiscard]] bool write(void const* from, std::size_t size) const noexcept
  {
    auto const* at = static_cast<char const*>(from);
    while (size > 0) {
      auto const written = ::write(number_, at, size);
      if (written < 0 && errno != EINTR) { return false; }
      if (written > 0) {
        at += written;
        size -= static_cast<std::size_t>(written);
      }
    }
    return true;
  }

  /// Waits until what was written is on the disk.
  [[nodiscard]] bool sync() const noexcept
  {
    int result = 0;
    do {
      result = ::fsync(number_);
    } while (result != 0 && errno == EINTR);
    return result == 0;
  }

  /// False where an error of writing shows only now.
  [[nodiscard]] bool close() noexcept
  {
    int const number = std::exchange(number_, -1);
    return number < 0 || ::close(number) == 0 ||
           errno == EINTR;  // it is closed all the same: close(2), Linux
  }

 private:
  int number_ = -1;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
