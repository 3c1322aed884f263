// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <cerrno>
#include <cstddef>
#include <functional>
#include <optional>
#include <poll.h>
#include <string>
#include <unistd.h>

namespace label_scans {

/// Lines of a pipe, of which the wait for the next one can be broken off.
class LineInput {
 public:
  explicit LineInput(int file) : file_{file} {}

  /// The next line; nothing at the end, or soon after `stops()` says so.
  [[nodiscard]] std::optional<std::string> next(std::function<bool()> const& stops)
  {
    for (;;) {
      auto const end = buffer_.find('\n', searched_);
      if (end != std::string::npos) {
        auto line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        searched_ = 0;
        return line;
      }
      searched_ = buffer_.size();
      if (ended_) {
        if (buffer_.empty()) { return std::nullopt; }
        std::string line;
        line.swap(buffer_);
        searched_ = 0;
        return line;
      }
      pollfd request{file_, POLLIN, 0};
      while (::poll(&request, 1, 50) <= 0) {
        if (stops()) { return std::nullopt; }
      }
      char bytes[4096];
      auto const count = ::read(file_, bytes, sizeof(bytes));
      if (count > 0) { buffer_.append(bytes, static_cast<std::size_t>(count)); }
      ended_ = count == 0 || (count < 0 && errno != EINTR);
    }
  }

 private:
  int file_;
  std::string buffer_;
  std::size_t searched_ = 0;
  bool ended_ = false;
};

}  // namespace label_scans
