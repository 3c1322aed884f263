// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "floor.hpp"
#include "options.hpp"
#include "result.hpp"
#include "timing.cuh"
#include "workloads.hpp"

#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <program.hpp>
#include <stream.cuh>
#include <string>
#include <utility>
#include <vector>

namespace bench {

/// The GPU, its driver, and now.
[[nodiscard]] inline Environment environment_of(std::string program, std::string revision, int device)
{
  Environment environment;
  environment.program = std::move(program);
  environment.revision = std::move(revision);
  cudaDeviceProp properties{};
  ts::detail::cuda_check(cudaGetDeviceProperties(&properties, device));
  environment.gpu = properties.name;
  auto const version = [](int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  };
  environment.cuda = version(CUDART_VERSION);
  std::ifstream module{"/sys/module/nvidia/version"};
  if (!std::getline(module, environment.driver)) {
    int supported = 0;
    ts::detail::cuda_check(cudaDriverGetVersion(&supported));
    environment.driver = "for CUDA " + version(supported);
  }
  std::time_t const now = std::time(nullptr);
  std::tm utc{};
  char date[32];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
  environment.date = date;
  return environment;
}

/// A run of a benchmark program: what it was told, where it runs, what it found.
class Session {
 public:
  explicit Session(Options const& options) : options_{options}, folder_{options.data} {}

  [[nodiscard]] Options const& options() const noexcept { return options_; }
  [[nodiscard]] ScanFolder const& folder() const noexcept { return folder_; }
  [[nodiscard]] ts::Execution<ts::Device> const& exec() const noexcept { return exec_; }
  [[nodiscard]] Timer& timer() noexcept { return timer_; }
  [[nodiscard]] std::vector<Result> const& results() const noexcept { return results_; }

  /// Whether the filter lets a case pass.
  [[nodiscard]] bool wants(Result const& result) const
  {
    auto const line = result.name + " | " + result.workload + " | " + result.variant;
    return line.find(options_.filter) != std::string::npos;
  }

  /// Keeps and prints a result; rates come from `work`, where there is one.
  void add(Result result, std::string method, Times const& times, Work const* work = nullptr)
  {
    result.method = std::move(method);
    result.times = times;
    if (work != nullptr && times.median_ms > 0) {
      result.tflops = 2e-9 * work->multiply_adds() / times.median_ms;
      result.gather_gbs = 1e-6 * work->gathered_bytes() / times.median_ms;
    }
    std::printf("%s\n", to_line(result).c_str());
    std::fflush(stdout);
    results_.push_back(std::move(result));
  }

  /// Notes how many kernels (copies and fills too) and waits `call()` asks for; a graph it launches counts
  /// as its `graph_nodes`.
  template <class Call>
  void count(Result& result, Call const& call, std::int64_t graph_nodes = 0)
  {
    auto const asked = timer_.count(call);
    result.kernels = static_cast<int>(asked.kernels + asked.copies_and_fills + asked.graphs * graph_nodes);
    result.host_syncs = static_cast<int>(asked.waits);
  }

  /// Times `run(exec)`, which keeps nothing that it makes: whole calls, with a cold L2 cache and, where it
  /// does not wait for the host, as a graph.
  template <class Run>
  void measure(Result result, Run const& run)
  {
    if (!wants(result)) { return; }
    auto const call = [&] { run(exec_); };
    call();
    count(result, call);
    add(result, "calls", timer_.calls(options_.calls, call));
    add(result, "cold", timer_.cold(options_.calls, call));
    if (auto const graph = timer_.graph(options_.calls, run)) {
      result.kernels = graph->nodes;
      add(result, "graph", graph->times);
    }
  }

 private:
  Options options_;
  ScanFolder folder_;
  program::Stream stream_;
  ts::Execution<ts::Device> exec_{stream_.get()};
  Timer timer_{exec_};
  std::vector<Result> results_;
};

/// What main() does: parses, runs `body(session)`, writes the results.
template <class Body>
[[nodiscard]] int run_benchmark(char const* name, std::string const& about,
                                std::vector<std::string> const& precisions, int argc, char** argv,
                                Body const& body)
{
  return program::run_program(
      name, argc, argv,
      [&](std::vector<std::string> const& arguments, std::string& help) {
        return parse_options("usage: " + std::string{name} + " [options]\n\n" + about, precisions, arguments,
                             help);
      },
      [&](Options const& options) {
        auto const absence = program::absence_of_gpu();
        if (!absence.empty()) { throw program::Failure{absence}; }
        Session session{options};
        auto const environment = environment_of(name, options.revision, session.exec().device());
        std::printf("%s, driver %s, CUDA %s, revision %s, %s\n", environment.gpu.c_str(),
                    environment.driver.c_str(), environment.cuda.c_str(), environment.revision.c_str(),
                    environment.date.c_str());
        body(session);
        if (session.results().empty()) {
          throw program::Failure{"no case has '" + options.filter + "' in its line"};
        }
        if (!options.out.empty()) { write_results(options.out, environment, session.results()); }
      });
}

}  // namespace bench
