// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "statistics.hpp"

#include <tessera/io/detail/json.hpp>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

/// One line of the results; what was not measured is left out of JSON and empty in CSV.
struct Result {
  std::string name;      ///< of the case: "layer", "MinkUNet 1.0", "map submanifold 3x3x3 sorted"
  std::string workload;  ///< what it ran on: "semkitti"
  std::string variant;   ///< "C64 fp16", "planned fused fp16"
  std::string method;    ///< how it was timed: "calls", "cold", "batched", "graph"
  std::int64_t rows = 0;
  Times times;

  std::optional<double> tflops;  ///< useful, at the median
  std::optional<double> gather_gbs;
  std::optional<double> floor_ms;
  std::optional<double> executed_ratio;    ///< multiply-adds executed / useful
  std::optional<std::int64_t> peak_bytes;  ///< above weights and input
  std::optional<int> kernels;              ///< and fills and copies, of one call
  std::optional<int> host_syncs;           ///< of one call

  /// floor / median; 100 is as fast as can be.
  [[nodiscard]] std::optional<double> percent_of_floor() const
  {
    if (!floor_ms || !(times.median_ms > 0)) { return std::nullopt; }
    return 100 * *floor_ms / times.median_ms;
  }
};

/// Where and when results were measured.
struct Environment {
  std::string program;
  std::string gpu;
  std::string driver;
  std::string cuda;
  std::string revision;
  std::string date;  ///< ISO 8601, UTC
};

/// A value by its name, as text; empty where it was not measured.
struct Field {
  char const* name;
  std::string value;
  bool is_text = false;
};

/// Six significant digits; empty for what is no finite number, which JSON cannot say.
[[nodiscard]] inline std::string number_text(std::optional<double> value)
{
  if (!value || !std::isfinite(*value)) { return {}; }
  char digits[40];
  std::snprintf(digits, sizeof(digits), "%.6g", *value);
  return digits;
}

[[nodiscard]] inline std::vector<Field> fields(Result const& r)
{
  auto const whole = [](auto const& value) { return value ? std::to_string(*value) : std::string{}; };
  return {{"case", r.name, true},
          {"workload", r.workload, true},
          {"variant", r.variant, true},
          {"method", r.method, true},
          {"rows", std::to_string(r.rows)},
          {"calls", std::to_string(r.times.calls)},
          {"median_ms", number_text(r.times.median_ms)},
          {"min_ms", number_text(r.times.min_ms)},
          {"p99_ms", number_text(r.times.p99_ms)},
          {"floor_ms", number_text(r.floor_ms)},
          {"percent_of_floor", number_text(r.percent_of_floor())},
          {"tflops", number_text(r.tflops)},
          {"gather_gbs", number_text(r.gather_gbs)},
          {"executed_ratio", number_text(r.executed_ratio)},
          {"peak_bytes", whole(r.peak_bytes)},
          {"kernels", whole(r.kernels)},
          {"host_syncs", whole(r.host_syncs)}};
}

[[nodiscard]] inline std::vector<Field> fields(Environment const& e)
{
  return {{"program", e.program, true}, {"gpu", e.gpu, true},           {"driver", e.driver, true},
          {"cuda", e.cuda, true},       {"revision", e.revision, true}, {"date", e.date, true}};
}

/// `{"format": ..., "program": ..., ..., "results": [{"case": ..., ...}, ...]}`; what was not measured is
/// left out.
[[nodiscard]] inline std::string to_json(Environment const& environment, std::vector<Result> const& results)
{
  std::string text = "{\n  \"format\": \"tessera benchmark 1\",\n";
  auto const pair = [](Field const& field) {
    return tessera::detail::json_quoted(field.name) + ": " +
           (field.is_text ? tessera::detail::json_quoted(field.value) : field.value);
  };
  for (auto const& field : fields(environment)) { text += "  " + pair(field) + ",\n"; }
  text += "  \"results\": [";
  char const* separator = "\n";
  for (auto const& result : results) {
    text += std::string{separator} + "    {";
    char const* comma = "";
    for (auto const& field : fields(result)) {
      if (field.value.empty() && !field.is_text) { continue; }
      text += comma + pair(field);
      comma = ", ";
    }
    text += "}";
    separator = ",\n";
  }
  return text + "\n  ]\n}\n";
}

/// A line of names, then a line for each result, each with what the environment says.
[[nodiscard]] inline std::string to_csv(Environment const& environment, std::vector<Result> const& results)
{
  std::string text;
  auto const append = [&](Field const& field, char const* separator) {
    if (!field.is_text) {
      text += separator + field.value;
      return;
    }
    text += std::string{separator} + '"';
    for (char const c : field.value) { text += c == '"' ? std::string{"\"\""} : std::string(1, c); }
    text += '"';
  };
  auto const append_all = [&](std::vector<Field> const& of_result) {
    char const* separator = "";
    for (auto const& field : of_result) {
      append(field, separator);
      separator = ",";
    }
  };
  auto const with_environment = [&](Result const& result) {
    auto all = fields(result);
    for (auto& field : fields(environment)) { all.push_back(std::move(field)); }
    return all;
  };
  char const* separator = "";
  for (auto const& field : with_environment({})) {
    text += separator + std::string{field.name};
    separator = ",";
  }
  text += "\n";
  for (auto const& result : results) {
    append_all(with_environment(result));
    text += "\n";
  }
  return text;
}

/// Writes `path`, or `path`.json and `path`.csv where it ends in neither.
/// @throws std::runtime_error  it cannot be written
inline void write_results(std::string const& path, Environment const& environment,
                          std::vector<Result> const& results)
{
  auto const ends_with = [&](std::string_view end) {
    return path.size() > end.size() && path.compare(path.size() - end.size(), end.size(), end) == 0;
  };
  auto const write = [](std::string const& to, std::string const& text) {
    std::ofstream file{to, std::ios::binary};
    file << text;
    file.close();
    if (!file) { throw std::runtime_error{"'" + to + "' cannot be written"}; }
  };
  bool const json = ends_with(".json");
  bool const csv = ends_with(".csv");
  if (!csv) { write(json ? path : path + ".json", to_json(environment, results)); }
  if (!json) { write(csv ? path : path + ".csv", to_csv(environment, results)); }
}

/// One line for the terminal.
[[nodiscard]] inline std::string to_line(Result const& r)
{
  char text[320];
  auto const name = r.name + " | " + r.workload + " | " + r.variant + " | " + r.method;
  std::snprintf(text, sizeof(text), "%-86s %8lld rows  median %9.4f  min %9.4f  p99 %9.4f ms", name.c_str(),
                static_cast<long long>(r.rows), r.times.median_ms, r.times.min_ms, r.times.p99_ms);
  std::string line = text;
  auto const append = [&](char const* format, double value) {
    std::snprintf(text, sizeof(text), format, value);
    line += text;
  };
  if (r.floor_ms) { append("  floor %.4f", *r.floor_ms); }
  if (r.percent_of_floor()) { append(" (%.0f %%)", *r.percent_of_floor()); }
  if (r.tflops) { append("  %.1f TFLOP/s", *r.tflops); }
  if (r.gather_gbs) { append("  %.0f GB/s", *r.gather_gbs); }
  if (r.executed_ratio) { append("  executed/useful %.2f", *r.executed_ratio); }
  if (r.peak_bytes) { append("  peak %.1f MB", static_cast<double>(*r.peak_bytes) / 1e6); }
  if (r.kernels) { append("  %.0f kernels", *r.kernels); }
  if (r.host_syncs) { append("  %.0f waits", *r.host_syncs); }
  return line;
}

}  // namespace bench
