// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <sstream>
#include <string>

namespace test {

/// Counts test cases as passed, failed or skipped; a case that skips itself has not passed.
class Tally {
 public:
  void start(std::string name)
  {
    name_ = std::move(name);
    running_ = true;
    skips_ = 0;
  }

  /// Marks the running case as skipped. Returns the line to print.
  std::string skip(std::string const& reason)
  {
    if (running_) { ++skips_; }
    return "skipped: " + (running_ ? name_ : "(no test case)") + ": " + reason;
  }

  /// Ends the running case. A failure counts, whether the case skipped something or not.
  void end(bool failed)
  {
    if (failed) {
      ++failed_;
    } else if (skips_ > 0) {
      ++skipped_;
    } else {
      ++passed_;
    }
    running_ = false;
  }

  /// Counts a case that was never started.
  void left_out() { ++skipped_; }

  /// `N passed, N failed, N skipped`
  [[nodiscard]] std::string line() const
  {
    std::ostringstream text;
    text << passed_ << " passed, " << failed_ << " failed, " << skipped_ << " skipped";
    return text.str();
  }

 private:
  std::string name_;
  bool running_ = false;
  int skips_ = 0;
  int passed_ = 0;
  int failed_ = 0;
  int skipped_ = 0;
};

}  // namespace test
