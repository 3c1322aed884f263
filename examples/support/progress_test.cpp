// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// What Progress tells, and where: on a terminal, elsewhere, and after Ctrl-C.

#include "progress.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <thread>
#include <unistd.h>

namespace {

int faults = 0;

void expect(bool holds, char const* what, std::string const& seen)
{
  if (holds) { return; }
  std::printf("does not hold: %s; seen was:\n%s\n", what, seen.c_str());
  ++faults;
}

bool has(std::string const& text, std::string const& part)
{
  return text.find(part) != std::string::npos;
}

/// What `body` writes to a stderr that is `fd`, which is read from `from`.
template <class Body>
std::string stderr_of(int fd, int from, Body const& body)
{
  std::fflush(stderr);
  int const before = dup(STDERR_FILENO);
  dup2(fd, STDERR_FILENO);
  body();
  std::fflush(stderr);
  dup2(before, STDERR_FILENO);
  close(before);
  fcntl(from, F_SETFL, fcntl(from, F_GETFL) | O_NONBLOCK);
  std::string text;
  char bytes[4096];
  for (;;) {
    auto const count = read(from, bytes, sizeof(bytes));
    if (count <= 0) { break; }
    text.append(bytes, static_cast<std::size_t>(count));
  }
  return text;
}

template <class Body>
std::string stderr_of_pipe(Body const& body)
{
  int ends[2];
  if (pipe(ends) != 0) { std::abort(); }
  auto const text = stderr_of(ends[1], ends[0], body);
  close(ends[0]);
  close(ends[1]);
  return text;
}

template <class Body>
std::string stderr_of_terminal(Body const& body)
{
  int const master = posix_openpt(O_RDWR | O_NOCTTY);
  if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) { return "no terminal"; }
  int const terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
  auto const text = stderr_of(terminal, master, body);
  close(terminal);
  close(master);
  return text;
}

void pause(double seconds)
{
  std::this_thread::sleep_for(std::chrono::duration<double>{seconds});
}

/// A stage that is quick, one that takes `seconds` after a quarter of its steps, and one without steps.
void work(double seconds)
{
  program::Progress progress;
  progress.begin("quick", 3, "parts");
  progress.step();
  progress.begin("slow", 8, "layers");
  progress.step();
  progress.step();
  pause(seconds);
  progress.begin("stepless");
  pause(seconds);
  progress.begin("counted", 8, "scans");
  progress.set(6, "half of it left");
  pause(seconds > 1 ? 1.5 : seconds);
  progress.end();
}

void test_pipe()
{
  auto const quick = stderr_of_pipe([] { work(0.2); });
  expect(quick.empty(), "stages of less than a second are not told", quick);
  auto const slow = stderr_of_pipe([] { work(2.5); });
  expect(has(slow, "  slow       2 of 8 layers, "), "a stage of over a second has a line with its steps",
         slow);
  expect(has(slow, "\n  stepless   "), "a stage of unknown steps has a line with its time", slow);
  expect(has(slow, "  counted    6 of 8 scans, 1 s, half of it left\n"), "a stage may say more", slow);
  expect(!has(slow, "quick") && !has(slow, "\r") && !has(slow, "\033"),
         "there is nothing else, and no control codes", slow);
}

void test_terminal()
{
  auto const text = stderr_of_terminal([] { work(2.5); });
  if (text == "no terminal") {
    std::puts("no pseudo-terminal here: bars are not tested");
    return;
  }
  expect(has(text, "\r  slow       [######------------------] 2 of 8 layers, "), "a terminal has a bar",
         text);
  auto const cleared = std::string{"\r\033[K"};
  expect(text.size() > cleared.size() && text.substr(text.size() - cleared.size()) == cleared,
         "nothing of the bar is left", text);
  expect(!has(text, "\n"), "a bar takes one line", text);
}

void test_interruption()
{
  program::catch_interrupts();
  bool thrown = false;
  auto const text = stderr_of_pipe([&] {
    program::Progress progress;
    progress.begin("stage", 2, "steps");
    progress.step();
    std::raise(SIGINT);
    try {
      progress.step();
    } catch (program::Interrupted const& interrupted) {
      thrown = interrupted.signal() == SIGINT;
    }
  });
  expect(thrown, "the step after Ctrl-C throws", text);
  struct sigaction now {};
  sigaction(SIGINT, nullptr, &now);
  expect(now.sa_handler == SIG_DFL, "a second Ctrl-C ends the program at once", text);
}

}  // namespace

int main()
{
  test_pipe();
  test_terminal();
  test_interruption();
  std::puts(faults == 0 ? "ok" : "FAILED");
  return faults == 0 ? 0 : 1;
}
