// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

#include <tessera/core/build_notes.hpp>

#include <doctest/doctest.h>

#if __has_include(<sys/wait.h>)
#include <sys/wait.h>
#include <unistd.h>
#endif

#include <cstdio>
#include <cstdlib>
#include <string>

using namespace tessera;

TEST_CASE("build notes: code for an older GPU is told of where a faster kernel is lost")
{
  auto const is_told = [](int device, int code, bool has_warpgroup, bool is_16_bit) {
    return !detail::outdated_code(device, code, has_warpgroup, is_16_bit).empty();
  };
  for (bool const half : {false, true}) {
    CAPTURE(half);
    CHECK(is_told(80, 75, false, half));
    CHECK(is_told(90, 75, false, half));
    CHECK(is_told(120, 75, false, half));
    CHECK_FALSE(is_told(75, 75, false, half));
    CHECK_FALSE(is_told(86, 80, false, half));
    CHECK_FALSE(is_told(90, 90, true, half));
    CHECK_FALSE(is_told(100, 100, false, half));
    CHECK_FALSE(is_told(120, 90, false, half));
    CHECK_FALSE(is_told(90, 0, false, half));
    CHECK(is_told(90, 80, false, half) == half);
    CHECK(is_told(90, 90, false, half) == half);
    CHECK(is_told(100, 80, false, half) == half);
  }
  CHECK(detail::outdated_code(90, 75, false, true) ==
        "this program is compiled for sm_75 and runs on an sm_90 device, whose tensor-core kernels are not "
        "in it; "
        "compile with -arch=sm_90a, or by CMake with -DCMAKE_CUDA_ARCHITECTURES=90a");
  CHECK(detail::outdated_code(120, 80, false, true).find("-arch=sm_120,") != std::string::npos);
}

#if __has_include(<sys/wait.h>)

namespace {

/// What a child writes to stderr while it runs `body()`.
template <class Body>
std::string stderr_of(Body const& body)
{
  int ends[2] = {};
  REQUIRE(pipe(ends) == 0);
  std::fflush(nullptr);
  auto const child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);
    dup2(ends[1], STDERR_FILENO);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char piece[256];
  for (;;) {
    auto const count = read(ends[0], piece, sizeof(piece));
    if (count <= 0) { break; }
    text.append(piece, static_cast<std::size_t>(count));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return text;
}

}  // namespace

TEST_CASE("build notes: a sentence is written once in a process, and not where it is silenced")
{
  auto const tell_twice = [] {
    for (int i = 0; i < 2; ++i) {
      detail::note_outdated_code(90, 75, false, true);
      detail::note_outdated_code(90, 80, false, true);
    }
  };
  auto const told = stderr_of([&] { show_build_notes(true), tell_twice(); });
  CHECK(told.find("tessera: this program is compiled for sm_75 ") == 0);
  CHECK(told.find('\n') == told.size() - 1);
  CHECK(stderr_of([&] { show_build_notes(false), tell_twice(); }).empty());
  CHECK(stderr_of([&] { show_build_notes(false), tell_twice(), show_build_notes(true), tell_twice(); }) ==
        told);
}

TEST_CASE("build notes: a program without optimisation is told when it has seconds of work, others never")
{
  auto const told = stderr_of([] {
    show_build_notes(true);
    detail::note_unoptimized(1e6);
    std::fputs("|", stderr);
    for (int i = 0; i < 3; ++i) { detail::note_unoptimized(2e9); }
  });
  if (detail::is_optimized) {
    CHECK(told == "|");
  } else {
    CHECK(told.find("|tessera: this program is compiled without optimisation") == 0);
    CHECK(told.find('\n') == told.size() - 1);
  }
}

#endif
