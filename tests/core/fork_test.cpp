// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// What a child of fork() may do with an Execution<Host> of its parent's. Each child has a time limit.

#include "../support/skip.hpp"

#include <tessera/core/execution.hpp>

#include <doctest/doctest.h>

#if __has_include(<sys/wait.h>)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

using namespace tessera;

#if __has_include(<sys/wait.h>)

namespace {

using Clock = std::chrono::steady_clock;

#if defined(__SANITIZE_THREAD__)
constexpr bool may_start_threads_in_child = false;
#elif defined(__has_feature)
constexpr bool may_start_threads_in_child = !__has_feature(thread_sanitizer);
#else
constexpr bool may_start_threads_in_child = true;
#endif

/// Runs `body()` in a child, which then leaves by `leave(its result)`. Returns the exit status, or -1 where the
/// child was still there after a minute, which an alarm of its own ends, or crashed.
template <class Body>
int status_of_child(Body const& body, void (*leave)(int) = _exit)
{
  std::fflush(nullptr);
  auto const child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    leave(body());
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int sum_to(std::int64_t count, Execution<Host> const& exec)
{
  std::atomic<int> sum{0};
  exec.parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) { sum += static_cast<int>(i); }
  });
  return sum;
}

/// How many threads two pieces run on that wait for each other, for twenty seconds at most.
int threads_of_two_pieces(Execution<Host> const& exec)
{
  std::atomic<int> begun{0};
  auto const deadline = Clock::now() + std::chrono::seconds{20};
  exec.parallel_for(2, 1, [&](std::int64_t, std::int64_t) {
    ++begun;
    while (begun < 2 && Clock::now() < deadline) { std::this_thread::yield(); }
  });
  return Clock::now() < deadline ? 2 : 1;
}

bool is_skipped()
{
  if (!may_start_threads_in_child) {
    test::skip("the thread sanitizer allows no threads after fork()");
    return true;
  }
  return test::skip_emulated("the emulator starts no threads after fork()");
}

}  // namespace

TEST_CASE("fork: a child that destroys its copy of an Execution ends, and its parent works on")
{
  for (int const threads : {1, 2, 5}) {
    CAPTURE(threads);
    auto exec = std::make_unique<Execution<Host>>(threads);
    CHECK(sum_to(100, *exec) == 4950);
    CHECK(status_of_child([&] { return exec.reset(), 7; }) == 7);
    CHECK(sum_to(100, *exec) == 4950);
  }
}

TEST_CASE("fork: a child runs loops, on threads of its own")
{
  if (is_skipped()) { return; }
  Execution<Host> const exec{3};
  CHECK(sum_to(100, exec) == 4950);
  CHECK(status_of_child([&] {
          bool const right = sum_to(100, exec) == 4950 && sum_to(100, exec) == 4950;
          return right ? threads_of_two_pieces(exec) : 0;
        }) == 2);
  CHECK(threads_of_two_pieces(exec) == 2);
}

TEST_CASE("fork: a child's child does too, and both destroy what they have")
{
  if (is_skipped()) { return; }
  auto exec = std::make_unique<Execution<Host>>(2);
  CHECK(status_of_child([&] {
          bool const before = sum_to(50, *exec) == 1225;
          int const inner = status_of_child([&] {
            int const sum = sum_to(50, *exec);
            exec.reset();
            return sum == 1225 ? 3 : 4;
          });
          exec.reset();
          return before && inner == 3 ? 5 : 6;
        }) == 5);
}

TEST_CASE("fork: while another thread runs loops of the same Execution, the child is not held up by them")
{
  if (is_skipped()) { return; }
  Execution<Host> const exec{4};
  std::atomic<bool> stop{false};
  std::thread other{[&] {
    while (!stop) { static_cast<void>(sum_to(40, exec)); }
  }};
  auto const deadline = Clock::now() + std::chrono::seconds{4};  // on a busy machine a fork may take one
  for (int round = 0; round < 40 && Clock::now() < deadline; ++round) {
    int const status = status_of_child([&] { return sum_to(60, exec) == 1770 ? 9 : 1; });
    CHECK(status == 9);
    if (status != 9) { break; }
  }
  stop = true;
  other.join();
}

TEST_CASE("fork: an Execution in static storage lets a child exit")
{
  static Execution<Host> const exec{3};
  CHECK(sum_to(100, exec) == 4950);
  // the test program's own statics are no concern of the child, but exec's destructor is
  struct Leave {
    static void now(int status) { std::exit(status); }
  };
  CHECK(status_of_child([&] { return std::fclose(stdout), 11; }, Leave::now) == 11);
}

TEST_CASE("fork: several threads of a child that run their first loop at once share the new threads")
{
  if (is_skipped()) { return; }
  Execution<Host> const exec{3};
  CHECK(status_of_child([&] {
          std::atomic<int> right{0};
          std::vector<std::thread> threads;
          for (int i = 0; i < 4; ++i) {
            threads.emplace_back([&] { right += sum_to(100, exec) == 4950; });
          }
          for (auto& thread : threads) { thread.join(); }
          return right + 20;
        }) == 24);
}

#endif
