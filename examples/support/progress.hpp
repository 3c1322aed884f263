// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "interrupt.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>

namespace program {

/// Tells on stderr what the program is doing while a stage takes over a second: a bar that is drawn over on a
/// terminal, elsewhere a line after the first second, every three seconds, and after a while every minute.
///
/// One thread runs the stages. Between them nothing of the bar is left, so that it can print. begin(), step()
/// and end() throw Interrupted after Ctrl-C.
class Progress {
 public:
  Progress() : terminal_{isatty(STDERR_FILENO) == 1}, ticker_{[this] { run(); }} {}
  Progress(Progress const&) = delete;
  Progress& operator=(Progress const&) = delete;
  ~Progress()
  {
    {
      std::lock_guard<std::mutex> const lock{mutex_};
      stop_stage();
      done_ = true;
    }
    wake_.notify_all();
    ticker_.join();
  }

  /// The stage begins, and any other ends. It has so many steps, each a `unit`; 0: not known.
  void begin(std::string stage, int steps = 0, std::string unit = "")
  {
    throw_if_interrupted();
    std::lock_guard<std::mutex> const lock{mutex_};
    stop_stage();
    stage_ = std::move(stage);
    unit_ = std::move(unit);
    steps_ = steps;
    step_ = 0;
    start_ = std::chrono::steady_clock::now();
    next_line_ = 1;
  }
  /// One step more is done.
  void step()
  {
    throw_if_interrupted();
    std::lock_guard<std::mutex> const lock{mutex_};
    if (step_ < steps_) { ++step_; }
  }
  /// So many steps are done; `remark` ends the line. Unlike the others this may be called by any thread, and
  /// throws nothing after Ctrl-C.
  void set(int step, std::string remark)
  {
    std::lock_guard<std::mutex> const lock{mutex_};
    step_ = std::min(step, steps_);
    remark_ = std::move(remark);
  }
  /// The stage ends.
  void end()
  {
    throw_if_interrupted();
    stop();
  }
  /// The same, also after Ctrl-C.
  void stop()
  {
    std::lock_guard<std::mutex> const lock{mutex_};
    stop_stage();
  }

 private:
  static constexpr int bar_width = 24;

  void run()
  {
    std::unique_lock<std::mutex> lock{mutex_};
    while (!done_) {
      wake_.wait_for(lock, std::chrono::milliseconds{terminal_ ? 100 : 250});
      if (done_ || stage_.empty()) { continue; }
      std::chrono::duration<double> const passed = std::chrono::steady_clock::now() - start_;
      if (passed.count() < next_line_) { continue; }
      // Lines of hours are fewer than those of minutes.
      if (!terminal_) { next_line_ = passed.count() + std::clamp(0.1 * passed.count(), 3.0, 60.0); }
      show(passed.count());
    }
  }

  void show(double seconds)
  {
    std::string line = "  " + stage_;
    line.resize(std::max<std::size_t>(line.size(), 12), ' ');
    if (steps_ > 0 && terminal_) {
      auto const filled = static_cast<std::size_t>(std::int64_t{bar_width} * step_ / steps_);
      line += " [" + std::string(filled, '#') + std::string(bar_width - filled, '-') + "]";
    }
    if (steps_ > 0) {
      line += " " + std::to_string(step_) + " of " + std::to_string(steps_) + " " + unit_ + ",";
    }
    line += " " + std::to_string(static_cast<int>(seconds)) + " s";
    if (!remark_.empty()) { line += ", " + remark_; }
    std::fprintf(stderr, terminal_ ? "\r%s\033[K" : "%s\n", line.c_str());
    std::fflush(stderr);
    shown_ = terminal_;
  }

  void stop_stage()
  {
    if (shown_) {
      std::fputs("\r\033[K", stderr);
      std::fflush(stderr);
    }
    shown_ = false;
    stage_.clear();
    remark_.clear();
  }

  bool terminal_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string stage_;  // empty: none
  std::string unit_;
  std::string remark_;
  int steps_ = 0;
  int step_ = 0;
  std::chrono::steady_clock::time_point start_;
  double next_line_ = 1;  // seconds after the start
  bool shown_ = false;    // a bar is on the terminal
  bool done_ = false;
  std::thread ticker_;  // the last member: it reads the others
};

}  // namespace program
