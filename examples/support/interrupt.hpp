// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <csignal>
#include <stdexcept>

namespace program {

/// Ctrl-C or SIGTERM: what was begun is undone on the way out of the program, as with any other exception.
class Interrupted : public std::runtime_error {
 public:
  explicit Interrupted(int signal) : std::runtime_error{"interrupted"}, signal_{signal} {}
  [[nodiscard]] int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

inline volatile std::sig_atomic_t caught_signal = 0;  // 0: none

extern "C" inline void program_catch_signal(int signal)
{
  caught_signal = signal;
}

/// From now on the first Ctrl-C makes throw_if_interrupted() throw, and a second one ends the program at
/// once.
inline void catch_interrupts()
{
  struct sigaction action {};
  action.sa_handler = program_catch_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND) | SA_RESTART;
  for (int const signal : {SIGINT, SIGTERM}) { sigaction(signal, &action, nullptr); }
}

inline void throw_if_interrupted()
{
  if (caught_signal != 0) { throw Interrupted{caught_signal}; }
}

/// Ends the program as the signal would have, so that a shell or a script sees why.
inline void end_by_signal(int signal)
{
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace program
