// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// Labels many scans, one process for each GPU; `label_scans --help` says how it is used, docs/scale.md how it
// is run on many machines.
//
//   options.hpp                the command line
//   scans.hpp, folder_walk.hpp which scans there are
//   shard.hpp                  which of them are this process's
//   task.hpp                   which network does what
//   engines.hpp                points -> labels or a map, for either space
//   host.cpp, device*.cu       that for the CPU, and for the GPU in each precision
//   growing_plan.cuh           on the GPU: one CUDA graph, made anew where a scan outgrows it
//   pipeline.hpp               reading, computing and writing at once, and who waits for whom
//   reading.hpp, output.hpp    files of points into the engine's memory, and results out of it
//   manifest.hpp               what became of each scan, and the settings of a folder's results
//   tally.hpp                  how many there were, and how much of its time the network was busy
//   labelling.hpp              all of it together
//   line_input.hpp             --worker: names of scans on the standard input

#include "../support/gpu.hpp"
#include "../support/points.hpp"
#include "../support/program.hpp"
#include "../support/progress.hpp"
#include "labelling.hpp"
#include "line_input.hpp"
#include "manifest.hpp"
#include "options.hpp"
#include "shard.hpp"
#include "task.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace label_scans {
namespace {

using program::counted;
using program::with_commas;

char const* environment(char const* name)
{
  return std::getenv(name);
}

std::unique_ptr<Engine> make_engine_on(program::Machine const& machine, Task const& task)
{
#ifdef __CUDACC__
  if (machine.on_device) { return make_device_engine(task, machine.precision); }
#endif
  static_cast<void>(machine);
  return make_host_engine(task);
}

/// The format of the layout's files, unless the options name one.
tessera::PointReadOptions reading_of(Options const& options, Layout layout)
{
  auto read = options.read;
  bool const open = read.format == tessera::PointFormat::detect && read.columns.empty();
  if (open && layout == Layout::semantic_kitti) { read.format = tessera::PointFormat::kitti; }
  if (open && layout == Layout::nuscenes) { read.format = tessera::PointFormat::nuscenes; }
  return read;
}

/// A network that is ready, and how its results become files.
struct Prepared {
  program::Machine machine;
  Task task;
  std::unique_ptr<Engine> engine;
  ResultFormat format;
  std::string settings;
};

Prepared prepare(Options const& options, Layout layout, program::Machine const& machine,
                 program::Progress* progress)
{
  Prepared it;
  it.machine = machine;
#ifdef __CUDACC__
  if (it.machine.on_device) { pick_gpu(options.gpu, local_rank(environment)); }
#endif
  if (progress != nullptr) { progress->begin("network"); }
  it.task = make_task(options, it.machine);
  it.format.labels = it.task.segmentation.has_value();
  it.format.npy = options.npy;
  if (it.format.labels) {
    it.format.ids = label_ids(options.label_ids, it.task.segmentation->shape.num_classes);
  }
  it.settings =
      settings_of(options, it.task, it.format.ids, reading_of(options, layout), it.machine.precision);
  it.engine = make_engine_on(it.machine, it.task);
  it.format.map_shape = it.engine->map_shape();
  if (progress != nullptr) { progress->end(); }
  return it;
}

void print_prepared(Options const& options, Prepared const& it)
{
  auto const& task = it.task;
  auto const in = task.in_channels();
  auto const parameters = with_commas(it.engine->num_parameters());
  if (task.segmentation) {
    auto const* const weights = task.segmentation->weights ? &task.segmentation->weights->network : nullptr;
    program::print_weights(options, weights,
                           weights == nullptr ? "" : program::known_network(weights->kind).name,
                           "labels mean");
    if (weights != nullptr) { program::print_conversion_note(*weights); }
    std::printf("network   MinkUNet, %d channels in, %d classes, %s parameters\n", in,
                task.segmentation->shape.num_classes, parameters.c_str());
  } else {
    auto const* const weights = task.encoder->weights ? &task.encoder->weights->checkpoint : nullptr;
    program::print_weights(options, weights, "", "maps mean");
    if (weights != nullptr) { program::print_conversion_note(*weights); }
    std::printf("network   %s, %d channels in, maps of %s, %s parameters\n", task.encoder->shape.name.c_str(),
                in, npy_shape(it.format.map_shape).c_str(), parameters.c_str());
  }
  std::printf("device    %s\n", program::description(it.machine, options.threads).c_str());
  std::fflush(stdout);
}

/// Results of one folder are of one kind: what another manifest there says of its settings must be ours.
void check_settings(Options const& options, fs::path const& folder, Manifest const& own,
                    std::string const& ours)
{
  if (options.mixed) {
    static_cast<void>(claim_settings(own, ours, true));
    return;
  }
  auto const check = [&](std::string const& theirs) {
    if (theirs.empty() || theirs == ours) { return; }
    throw Failure{options.output + " has results of other settings (" + theirs + "; now " + ours +
                  "); choose another folder, or --mixed"};
  };
  check(own.before().settings);
  auto const claimed = ManifestContents::read(folder / "settings.jsonl").settings;
  check(claimed);
  if (!claimed.empty()) { return; }
  std::error_code error;
  for (auto const& entry : fs::directory_iterator{folder, error}) {
    if (entry.path() == own.path() || entry.path().extension() != ".jsonl") { continue; }
    auto const theirs = ManifestContents::read(entry.path()).settings;
    check(theirs);
    if (!theirs.empty()) { break; }  // one of the others is enough
  }
  check(claim_settings(own, ours, false));  // others may begin at the same time
}

/// Arrays in the folder of the scans would be scans of the next run.
void expect_other_folder(Options const& options, Layout layout, ResultFormat const& format)
{
  std::error_code error;
  bool const as_scans = layout == Layout::folder && format.extension() == std::string_view{".npy"};
  if (as_scans && fs::equivalent(options.source, options.output, error)) {
    throw Failure{options.output +
                  " is the folder of the scans, where .npy results would be taken for scans; choose "
                  "another --output"};
  }
}

/// What the shard's processes, of this number of shards or another, say has failed and not been done since.
std::vector<std::string> failed_names(fs::path const& folder)
{
  std::vector<std::string> names;
  std::error_code error;
  for (auto const& entry : fs::directory_iterator{folder, error}) {
    for (auto const& [name, scan] : ManifestContents::read(entry.path()).scans) {
      if (!scan.done) { names.push_back(name); }
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// What of a shard is to be done.
struct Work {
  std::vector<Scan> missing;
  std::int64_t scans = 0;
  std::int64_t there = 0;
  std::int64_t failed_before = 0;  // and left out
};

/// Looks for the results. Those that the manifest does not know, since a process was killed before it could
/// note them, are noted.
Work find_work(std::vector<Scan> scans, Shard const& shard, Options const& options,
               OutputFolder const& folder, ResultFormat const& format, Manifest& manifest)
{
  Work work;
  auto const failed =
      options.skip_failed ? failed_names(manifest.path().parent_path()) : std::vector<std::string>{};
  auto const& known = manifest.before().scans;
  for (std::size_t i = 0; i < scans.size(); ++i) {
    if (!shard.has(static_cast<std::int64_t>(i))) { continue; }
    program::throw_if_interrupted();
    auto& scan = scans[i];
    ++work.scans;
    auto const path = folder.path_of(scan.name, format.extension());
    if (is_result(path)) {
      std::error_code error;
      bool const overwritten = fs::equivalent(path, scan.path, error);
      if (overwritten) { throw Failure{"the result of " + scan.path + " would be written over it"}; }
      auto const entry = known.find(scan.name);
      if (entry == known.end() || !entry->second.done) {
        manifest.append(manifest_line(scan.name, "done").add("scan", scan.path).add("found", true).text());
      }
      ++work.there;
    } else if (std::binary_search(failed.begin(), failed.end(), scan.name)) {
      ++work.failed_before;
    } else {
      work.missing.push_back(std::move(scan));
    }
  }
  return work;
}

void print_times(Tally const& tally)
{
  auto const percent = [](StageTimes const& times, double seconds) { return 100 * times.share(seconds); };
  auto const& [read, compute, write] = tally.times;
  std::printf(
      "\ndone      %s in %.1f s, %.1f scans/s; the network takes %.2f ms for a scan and is busy %.0f %%\n",
      counted(tally.done, "scan", "scans").c_str(), tally.seconds, tally.rate(), tally.milliseconds,
      100 * tally.efficiency());
  std::printf(
      "waiting   the network %.0f %% of its time for reading, %.0f %% for writing; readers %.0f %%, "
      "writers %.0f %%; the slowest is %s\n",
      percent(compute, compute.for_input), percent(compute, compute.for_output),
      percent(read, read.waiting()), percent(write, write.waiting()), tally.times.bottleneck());
}

/// The last line of the output, for programs.
std::string summary(Tally const& tally, PlanState const& state, Work const& work, Shard const& shard)
{
  auto const& [read, compute, write] = tally.times;
  return JsonLine{}
      .add("shard", shard.name())
      .add("scans", work.scans)
      .add("there", work.there)
      .add("done", tally.done)
      .add("failed", tally.failed)
      .add("failed_before", work.failed_before)
      .add("seconds", tally.seconds)
      .add("scans_per_second", tally.rate())
      .add("network_ms", tally.milliseconds)
      .add("efficiency", tally.efficiency())
      .add("planned", tally.planned)
      .add("plans", state.times_made)
      .add("network_waits_for_reading", compute.share(compute.for_input))
      .add("network_waits_for_writing", compute.share(compute.for_output))
      .add("readers_wait", read.share(read.waiting()))
      .add("writers_wait", write.share(write.waiting()))
      .add("slowest", tally.times.bottleneck())
      .text();
}

void print_tally(Tally const& tally, Prepared const& it, Work const& work, Shard const& shard)
{
  auto const& state = it.engine->plan_state();
  if (tally.done + tally.failed > 0) { print_times(tally); }
  if (state.times_made > 0) {
    std::printf("plan      one CUDA graph for %s, %.1f MB, made %s\n",
                counted(tally.planned, "scan", "scans").c_str(), static_cast<double>(state.bytes) / 1e6,
                counted(state.times_made, "time", "times").c_str());
  }
  if (it.machine.on_device && !state.no_plan.empty()) {
    program::print_note("layer by layer and not as one CUDA graph: " + state.no_plan);
  }
  std::fputs(summary(tally, state, work, shard).c_str(), stdout);
  std::fflush(stdout);
}

void label_shard(Options const& options)
{
  auto const shard = shard_of(options.shard, environment);
  auto const machine = program::choose_machine(options, program::absence);
  program::Progress progress;
  progress.begin("list");
  auto layout = options.layout;
  auto scans = find_scans(options.source, layout, options.sweeps, options.output);
  progress.end();
  auto const total = static_cast<std::int64_t>(scans.size());
  std::printf("scans     %s in %s (%s)\n", with_commas(total).c_str(),
              program::printable(options.source).c_str(), name_of(layout));
  if (shard.count > 1) { std::printf("shard     %s, by %s\n", shard.name().c_str(), shard.source.c_str()); }
  std::fflush(stdout);

  auto it = prepare(options, layout, machine, &progress);
  print_prepared(options, it);
  expect_other_folder(options, layout, it.format);

  auto const manifests = fs::path{options.output} / "manifest";
  auto const tag = "shard-" + std::to_string(shard.index) + "-of-" + std::to_string(shard.count);
  Manifest manifest{manifests / (tag + ".jsonl")};
  check_settings(options, manifests, manifest, it.settings);
  manifest.append(JsonLine{}
                      .add("status", "begun")
                      .add("settings", it.settings)
                      .add("device", program::description(it.machine, options.threads))
                      .text());
  OutputFolder folder{options.output, tag, options.sync};
  progress.begin("look");
  auto work = find_work(std::move(scans), shard, options, folder, it.format, manifest);
  progress.end();
  auto const missing = static_cast<std::int64_t>(work.missing.size());
  std::printf(
      "to do     %s of %s; %s there%s\n", with_commas(missing).c_str(),
      counted(work.scans, "scan", "scans").c_str(), with_commas(work.there).c_str(),
      work.failed_before > 0 ? (", " + with_commas(work.failed_before) + " failed before").c_str() : "");
  std::fflush(stdout);

  ScanReader const reader{it.task, reading_of(options, layout)};
  std::size_t at = 0;
  progress.begin("label", static_cast<int>(std::min<std::int64_t>(missing, INT32_MAX)), "scans");
  Labelling labelling{{it.engine.get(), &it.task, &reader, it.format, &folder, options.readers,
                       options.writers, missing, &progress,
                       [&]() -> std::optional<Scan> {
                         return at < work.missing.size() ? std::optional{std::move(work.missing[at++])}
                                                         : std::nullopt;
                       },
                       [&](JsonLine const& line) { manifest.append(line.text()); }}};
  auto const tally = labelling.run();
  progress.stop();
  print_tally(tally, it, work, shard);
  program::throw_if_interrupted();
  auto const failed = tally.failed + work.failed_before;
  if (failed > 0) {
    throw Failure{with_commas(failed) + " of " + counted(work.scans, "scan", "scans") + " failed; " +
                  manifest.path().string() + " says why"};
  }
}

/// A request of a worker, with a name. Absolute paths are named by all of their folders.
Scan requested(std::string const& line)
{
  auto scan = parse_scan_line(line);
  if (scan.name.empty()) {
    scan.name = without_extension(fs::path{scan.path}.relative_path().lexically_normal().generic_string());
    check_name(scan.name, scan.path);
  }
  return scan;
}

void work_for_others(Options const& options)
{
  auto it = prepare(options, options.layout, program::choose_machine(options, program::absence), nullptr);
  OutputFolder folder{options.output, unique_tag("worker"), options.sync};
  ScanReader const reader{it.task, reading_of(options, options.layout)};
  std::mutex mutex;
  auto const answer = [&](JsonLine const& line) {
    std::lock_guard const lock{mutex};
    std::fputs(line.text().c_str(), stdout);
    if (std::fflush(stdout) != 0) { throw Failure{"answers cannot be written"}; }
  };
  answer(JsonLine{}
             .add("status", "ready")
             .add("settings", it.settings)
             .add("device", program::description(it.machine, options.threads))
             .add("extension", it.format.extension()));
  LineInput input{STDIN_FILENO};
  auto const next = [&]() -> std::optional<Scan> {
    while (auto const line = input.next([] { return program::caught_signal != 0; })) {
      if (line->empty()) { continue; }
      try {
        auto scan = requested(*line);
        auto const path = folder.path_of(scan.name, it.format.extension());
        if (!is_result(path)) { return scan; }
        answer(manifest_line(scan.name, "done")
                   .add("scan", scan.path)
                   .add("result", path.string())
                   .add("found", true));
      } catch (Failure const& failure) {
        answer(JsonLine{}.add("status", "failed").add("scan", *line).add("reason", failure.what()));
      }
    }
    return std::nullopt;
  };
  Labelling labelling{{it.engine.get(), &it.task, &reader, it.format, &folder, options.readers,
                       options.writers, 0, nullptr, next, answer}};
  static_cast<void>(labelling.run());
  program::throw_if_interrupted();
}

void run(Options const& options)
{
  options.worker ? work_for_others(options) : label_shard(options);
}

}  // namespace
}  // namespace label_scans

int main(int argc, char** argv)
{
  return program::run_program("label_scans", argc, argv, label_scans::parse_options, label_scans::run);
}
