// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// The parts of label_scans that need no network: shards, names, manifests, files, and who waits for whom.
//
// parts_test <points.ply> <labels.npy>: whether the labels in both are the same.

#include "json_line.hpp"
#include "line_input.hpp"
#include "manifest.hpp"
#include "output.hpp"
#include "pipeline.hpp"
#include "scans.hpp"
#include "shard.hpp"
#include "tally.hpp"

#include <tessera/io/npy.hpp>
#include <tessera/io/point_cloud_file.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace label_scans {
namespace {

int faults = 0;

void expect(bool holds, char const* what, std::string const& seen = "")
{
  if (holds) { return; }
  std::printf("does not hold: %s; seen was: %s\n", what, seen.c_str());
  ++faults;
}

fs::path scratch()
{
  static auto const folder = fs::temp_directory_path() / ("label_scans_parts." + std::to_string(::getpid()));
  fs::create_directories(folder);
  return folder;
}

void write_file(fs::path const& path, std::string const& text)
{
  fs::create_directories(path.parent_path());
  std::ofstream{path, std::ios::binary} << text;
}

std::string text_of(fs::path const& path)
{
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// Why `call` refuses; empty if it does not.
template <class Call>
std::string refusal_of(Call const& call)
{
  try {
    static_cast<void>(call());
    return "";
  } catch (std::exception const& error) {
    return error.what();
  }
}

using Variables = std::map<std::string, std::string>;

Environment environment_of(Variables const& variables)
{
  return [&variables](char const* name) {
    auto const found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
}

void test_shards_are_disjoint_and_complete()
{
  for (std::int64_t scans : {0, 1, 2, 7, 100, 1001}) {
    for (std::int64_t count : {1, 2, 3, 4, 7, 64, 2000}) {
      std::vector<int> owners(static_cast<std::size_t>(scans));
      std::int64_t least = scans;
      std::int64_t most = 0;
      for (std::int64_t index = 0; index < count; ++index) {
        auto const shard = shard_of(std::to_string(index) + "/" + std::to_string(count), environment_of({}));
        std::int64_t own = 0;
        for (std::int64_t scan = 0; scan < scans; ++scan) {
          if (shard.has(scan)) {
            ++owners[static_cast<std::size_t>(scan)];
            ++own;
          }
        }
        least = std::min(least, own);
        most = std::max(most, own);
      }
      bool once = true;
      for (int const owner : owners) { once = once && owner == 1; }
      auto const what = std::to_string(scans) + " scans, " + std::to_string(count) + " shards";
      expect(once, "every scan is in one shard", what);
      expect(most - least <= 1, "shards are of one size, give or take one", what);
    }
  }
}

void test_shards_of_launchers()
{
  struct Case {
    Variables variables;
    std::string shard;
  };
  std::vector<Case> const cases{
      {{}, "0/1"},
      {{{"RANK", ""}, {"WORLD_SIZE", ""}}, "0/1"},
      {{{"RANK", "2"}, {"WORLD_SIZE", "5"}}, "2/5"},
      {{{"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_SIZE", "4"}}, "3/4"},
      {{{"PMI_RANK", "0"}, {"PMI_SIZE", "2"}}, "0/2"},
      {{{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "8"}}, "1/8"},
      {{{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "2"}}, "1/2"},
      {{{"SLURM_NTASKS", "8"}}, "0/1"},
      {{{"SLURM_ARRAY_TASK_ID", "12"}, {"SLURM_ARRAY_TASK_COUNT", "5"}, {"SLURM_ARRAY_TASK_MIN", "10"}},
       "2/5"},
      {{{"SLURM_ARRAY_TASK_ID", "3"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}, "3/4"},
      {{{"SLURM_ARRAY_TASK_ID", "7"},
        {"SLURM_ARRAY_TASK_COUNT", "4"},
        {"SLURM_ARRAY_TASK_MIN", "1"},
        {"SLURM_ARRAY_TASK_STEP", "2"}},
       "3/4"},
      // Ranks in each task of an array.
      {{{"SLURM_ARRAY_TASK_ID", "1"},
        {"SLURM_ARRAY_TASK_COUNT", "3"},
        {"SLURM_PROCID", "1"},
        {"SLURM_NTASKS", "2"}},
       "3/6"},
      // What started this process itself is nearer than what started its launcher.
      {{{"SLURM_PROCID", "0"},
        {"SLURM_NTASKS", "4"},
        {"OMPI_COMM_WORLD_RANK", "2"},
        {"OMPI_COMM_WORLD_SIZE", "4"}},
       "2/4"},
      {{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
       "1/2"}};
  for (auto const& one : cases) {
    auto const shard = shard_of(std::nullopt, environment_of(one.variables));
    expect(shard.name() == one.shard, "a launcher's variables give this shard",
           shard.name() + " for " + one.shard);
  }
  struct Refused {
    Variables variables;
    std::string part;
  };
  std::vector<Refused> const refused{
      {{{"RANK", "2"}}, "RANK is set, but not WORLD_SIZE"},
      {{{"WORLD_SIZE", "2"}}, "WORLD_SIZE is set, but not RANK"},
      {{{"RANK", "2"}, {"WORLD_SIZE", "2"}}, "RANK is 2, but WORLD_SIZE is 2"},
      {{{"RANK", "two"}, {"WORLD_SIZE", "2"}}, "RANK: 'two' is no number"},
      {{{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, "RANK: '-1' is no number"},
      {{{"SLURM_PROCID", "0"}}, "SLURM_NTASKS"},
      {{{"SLURM_ARRAY_TASK_ID", "1"}}, "not SLURM_ARRAY_TASK_COUNT"},
      {{{"SLURM_ARRAY_TASK_ID", "9"}, {"SLURM_ARRAY_TASK_COUNT", "4"}}, "none of 4 tasks"},
      {{{"SLURM_ARRAY_TASK_ID", "1"}, {"SLURM_ARRAY_TASK_COUNT", "4"}, {"SLURM_ARRAY_TASK_MIN", "2"}},
       "none of 4 tasks"},
      {{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}},
       "says process 0/2, but RANK says 1/2"}};
  for (auto const& one : refused) {
    auto const reason = refusal_of([&] { return shard_of(std::nullopt, environment_of(one.variables)); });
    expect(reason.find(one.part) != std::string::npos, "variables that do not fit are refused",
           "'" + reason + "' for '" + one.part + "'");
    expect(shard_of("1/3", environment_of(one.variables)).name() == "1/3", "--shard is stronger");
  }
  for (auto const* const text : {"", "1", "3/3", "-1/3", "0/0", "1/x", "a/3", "0/3/1"}) {
    expect(!refusal_of([&] { return shard_of(text, environment_of({})); }).empty(), "a shard that is none",
           text);
  }
  Variables const local{{"SLURM_LOCALID", "3"}};
  expect(local_rank(environment_of(local)) == 3, "the local rank picks the GPU");
}

void test_names()
{
  auto const folder = scratch() / "names";
  for (auto const* const name :
       {"b/2.bin", "a/1.pcd.bin", "c.ply", "d.npy", "e.pcd", "notes.txt", "out/f.npy"}) {
    write_file(folder / name, "");
  }
  auto layout = Layout::detect;
  auto scans = find_scans(folder, layout, false, folder / "out");
  std::string names;
  for (auto const& scan : scans) { names += scan.name + " "; }
  expect(names == "a/1 b/2 c d e " && layout == Layout::folder,
         "files of points at any depth, sorted, no results", names);
  write_file(folder / "a/1.ply", "");
  // Links to folders are followed; one to a folder above, or to one that is there anyway, adds nothing.
  write_file(scratch() / "elsewhere" / "3.bin", "");
  fs::create_directory_symlink(scratch() / "elsewhere", folder / "linked");
  fs::create_directory_symlink(folder, scratch() / "elsewhere" / "up");
  fs::create_directory_symlink("..", folder / "a" / "parent");
  fs::create_directory_symlink("../b", folder / "a" / "beside");
  fs::remove(folder / "a/1.ply");
  std::string linked;
  for (auto const& scan : find_scans(folder, layout, false, folder / "out")) { linked += scan.name + " "; }
  expect(linked == "a/1 b/2 c d e linked/3 ", "each scan once, however folders are linked", linked);
  fs::remove(scratch() / "elsewhere" / "up");
  write_file(folder / "a/1.ply", "");
  layout = Layout::detect;
  auto reason = refusal_of([&] { return find_scans(folder / "b/2.bin", layout, false, folder / "out"); });
  expect(reason.find("2.bin is a scan; name its folder") != std::string::npos, "a scan is no list", reason);
  layout = Layout::folder;
  reason = refusal_of([&] { return find_scans(folder, layout, false, folder / "out"); });
  expect(reason.find("would both be 'a/1'") != std::string::npos, "two scans of one name are refused",
         reason);

  auto const list = scratch() / "list.txt";
  write_file(list, "\xef\xbb\xbf/x/y/1.bin\n/x/z/2.bin\r\n\n/x/3.pcd\tother/name\n");
  layout = Layout::detect;
  scans = find_scans(list, layout, false, "out");
  names.clear();
  for (auto const& scan : scans) { names += scan.path + "=" + scan.name + " "; }
  expect(names == "/x/3.pcd=other/name /x/y/1.bin=y/1 /x/z/2.bin=z/2 ",
         "names below the common folder, or given", names);
  for (auto const* const bad : {"/x\t/y", "/x\t../y", "/x\t", "/x\ta/../../b", "/x\ta/"}) {
    write_file(list, std::string{bad} + "\n");
    expect(!refusal_of([&] { return find_scans(list, layout, false, "out"); }).empty(),
           "a name outside of the output folder is refused", bad);
  }

  auto const kitti = scratch() / "kitti";
  write_file(kitti / "sequences/00/velodyne/000001.bin", "");
  write_file(kitti / "sequences/00/labels/000001.label", "");
  write_file(kitti / "sequences/11/velodyne/000000.bin", "");
  write_file(kitti / "sequences/00/velodyne/readme.txt", "");
  layout = Layout::detect;
  scans = find_scans(kitti, layout, false, "out");
  expect(layout == Layout::semantic_kitti && scans.size() == 2 &&
             scans[0].name == "sequences/00/predictions/000001" &&
             scans[1].name == "sequences/11/predictions/000000",
         "SemanticKITTI's results are where its API looks for them");
  fs::create_symlink("12", kitti / "sequences/12");
  reason = refusal_of([&] { return find_scans(kitti, layout, false, "out"); });
  expect(reason.find("12/velodyne: cannot be listed") != std::string::npos,
         "a sequence that cannot be looked at is not left out", reason);

  auto const nuscenes = scratch() / "nuscenes";
  write_file(nuscenes / "samples/LIDAR_TOP/n0.pcd.bin", "");
  write_file(nuscenes / "sweeps/LIDAR_TOP/n1.pcd.bin", "");
  write_file(nuscenes / "samples/CAM_FRONT/n0.jpg", "");
  layout = Layout::detect;
  scans = find_scans(nuscenes, layout, false, "out");
  expect(layout == Layout::nuscenes && scans.size() == 1 && scans[0].name == "samples/LIDAR_TOP/n0",
         "nuScenes' key frames");
  expect(find_scans(nuscenes, layout, true, "out").size() == 2, "and its sweeps, if asked for");
}

void test_json()
{
  std::string const odd = "a\"b\\c\n\x01 \xc3\xa9";
  auto const line =
      JsonLine{}.add("text", odd).add("number", 12).add("real", 0.25).add("yes", true).add("none", "").text();
  expect(
      line ==
          "{\"text\": \"a\\\"b\\\\c\\u000a\\u0001 \xc3\xa9\", \"number\": 12, \"real\": 0.25, \"yes\": true, "
          "\"none\": \"\"}\n",
      "a line of JSON", line);
  auto const entries = parse_json_line(line.substr(0, line.size() - 1));
  expect(entries && entries->at("text") == odd && entries->at("number") == "12" &&
             entries->at("yes") == "true" && entries->at("none").empty(),
         "is read again");
  // Names of files are any bytes. What is no UTF-8 is \udcXX, which Python's surrogateescape reads.
  std::string const bytes = "a\xff\xc3(\xe2\x82\xac\xed\xa0\x80\xc0\xaf\xf0\x9f\x98\x80\xe2\x82";
  auto const escaped = JsonLine{}.add("name", bytes).text();
  expect(escaped ==
             "{\"name\": \"a\\udcff\\udcc3(\xe2\x82\xac\\udced\\udca0\\udc80\\udcc0\\udcaf"
             "\xf0\x9f\x98\x80\\udce2\\udc82\"}\n",
         "bytes that are no UTF-8 are escaped", escaped);
  auto const back = parse_json_line(escaped.substr(0, escaped.size() - 1));
  expect(back && back->at("name") == bytes, "and read again");
  auto const python = parse_json_line(R"({"name": "\u00e9\u20ac\ud83d\ude00\n\udcff"})");
  expect(python && python->at("name") == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n\xff",
         "as what Python escapes");
  for (std::size_t size = 0; size < line.size() - 1; ++size) {
    expect(!parse_json_line(line.substr(0, size)), "a line that was cut is none", line.substr(0, size));
  }
}

void test_manifest()
{
  auto const path = scratch() / "manifest" / "shard.jsonl";
  {
    Manifest manifest{path};
    manifest.append(JsonLine{}.add("status", "begun").add("settings", "s").text());
    manifest.append(manifest_line("one", "failed").add("reason", "no").text());
    manifest.append(manifest_line("two", "done").text());
    auto const reason = refusal_of([&] { return Manifest{path}.path(); });
    expect(reason.find("another process works on this shard") != std::string::npos, "a shard has one process",
           reason);
  }
  auto whole = text_of(path);
  auto const torn = manifest_line("three", "done").text();
  for (std::size_t cut : {std::size_t{1}, torn.size() / 2, torn.size() - 1}) {
    write_file(path, whole + torn.substr(0, cut));
    {
      Manifest manifest{path};
      bool const complete = cut == torn.size() - 1;  // all but the end of the line
      expect(manifest.before().settings == "s" && manifest.before().scans.size() == (complete ? 3U : 2U),
             "a torn last line does not count", std::to_string(manifest.before().scans.size()));
      expect(!manifest.before().scans.at("one").done && manifest.before().scans.at("one").reason == "no",
             "failures have reasons");
      manifest.append(manifest_line("one", "done").text());
    }
    auto const now = ManifestContents::read(path);
    expect(now.scans.at("one").done, "the last line counts, and is a line by itself");
  }
}

/// Of processes that begin at once the first says which settings a folder's results have.
void test_settings()
{
  auto const folder = scratch() / "settings";
  std::vector<pid_t> children;
  constexpr int number = 16;
  for (int i = 0; i < number; ++i) {
    auto const child = ::fork();
    if (child == 0) {
      Manifest const manifest{folder / ("shard-" + std::to_string(i) + ".jsonl")};
      auto const ours = std::to_string(i);
      ::_exit(claim_settings(manifest, ours, false) == ours ? 0 : 1);
    }
    children.push_back(child);
  }
  int first = 0;
  for (auto const child : children) {
    int status = 1;
    ::waitpid(child, &status, 0);
    first += status == 0 ? 1 : 0;
  }
  expect(first == 1, "one of them is the first", std::to_string(first));
  Manifest const manifest{folder / "shard-99.jsonl"};
  auto const theirs = claim_settings(manifest, "99", false);
  expect(theirs != "99" && !theirs.empty(), "who comes later is told what the others have", theirs);
  expect(claim_settings(manifest, "99", true) == "99" && claim_settings(manifest, "1", false) == "99",
         "unless it says that they shall be mixed");
  for (auto const& entry : fs::directory_iterator{folder}) {
    expect(entry.path().extension() == ".jsonl", "nothing else stays", entry.path().string());
  }
  write_file(scratch() / "file", "");
  auto const reason = refusal_of([&] { return Manifest{scratch() / "file" / "shard.jsonl"}.path(); });
  expect(reason.find("file: cannot be created: Not a directory") != std::string::npos,
         "a folder that cannot be made is told, and why", reason);
}

void test_output()
{
  auto const raw = label_ids("auto", 19);
  expect(raw.size() == 19 && raw[0] == 10 && raw[8] == 40 && raw[18] == 81, "SemanticKITTI's own numbers");
  expect(label_ids("auto", 5) == std::vector<std::uint32_t>({1, 2, 3, 4, 5}),
         "other numbers of classes count from 1");
  expect(label_ids("7,0,70000", 3) == std::vector<std::uint32_t>({7, 0, 70000}), "a table");
  for (auto const* const bad : {"raw", "1,2", "1,2,3,4", "1,,3", "a,b,c", "-1,2,3"}) {
    expect(!refusal_of([&] { return label_ids(bad, 3); }).empty(), "a table that is none is refused", bad);
  }

  OutputFolder folder{scratch() / "output", "tag", true};
  auto const path = folder.path_of("deep/er/name", ".npy");
  std::string const numbers{"\x01\x00\x00\x00\xff\xff\xff\xff", 8};
  folder.write(path, {npy_header("<i4", {2}), numbers});
  auto const array = tessera::read_npy(path);
  expect(array.shape == std::vector<std::int64_t>{2} && array.bytes.size() == 8 && array.bytes[4] == 0xff,
         "what is written is an array of numpy's");
  folder.write(path, {npy_header("<f4", {1, 2, 3, 4}), std::string(96, 'x')});
  expect(tessera::read_npy(path).shape == std::vector<std::int64_t>({1, 2, 3, 4}), "of any shape");
  std::size_t files = 0;
  for (auto const& entry : fs::recursive_directory_iterator{scratch() / "output"}) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  expect(files == 1, "and nothing else stays", std::to_string(files));
  auto const reason = refusal_of([&] {
    folder.write(folder.path_of("deep/er/name.npy/below", ".npy"), {"x"});
    return 0;
  });
  expect(!reason.empty(), "a folder that cannot be made is told");

  // The longest name that the file system takes; a longer one is the fault of its scan.
  std::string const longest(250, 'n');
  folder.write(folder.path_of(longest, ".npy"), {"x"});
  expect(fs::exists(folder.path_of(longest, ".npy")), "a long name is one as any other");
  for (auto const& name : {longest + longest, longest + longest + "/x"}) {
    bool of_scan = false;
    try {
      folder.write(folder.path_of(name, ".npy"), {"x"});
    } catch (ScanError const&) {
      of_scan = true;
    }
    expect(of_scan, "a name that is too long is an error of its scan", name);
  }
  // What a killed process left goes, whichever of its names it had; what others write stays.
  auto const left = scratch() / "output/left";
  for (auto const* const file : {"tag.0.tmp", "tag.5.tmp", "other.0.tmp"}) {
    write_file(left / file, "half");
  }
  OutputFolder{scratch() / "output", "tag", false}.write(left / "whole.npy", {"x"});
  expect(
      !fs::exists(left / "tag.0.tmp") && !fs::exists(left / "tag.5.tmp") && fs::exists(left / "other.0.tmp"),
      "what was begun by a process of this tag is removed");
  expect(unique_tag("worker") != unique_tag("worker"), "workers on two machines have no tag in common");
  fs::create_directories(folder.path_of("folder", ".npy"));
  expect(is_result(left / "whole.npy") && !is_result(folder.path_of("folder", ".npy")) &&
             !is_result(folder.path_of("none", ".npy")),
         "a folder is no result");
}

/// A name never stands for half of a file, whenever the writer is killed.
void test_killed_writers()
{
  OutputFolder folder{scratch() / "killed", "tag", false};
  auto const path = folder.path_of("result", ".npy");
  auto const temporary = folder.temporary_of(path.parent_path(), 0);
  std::string const bytes(std::size_t{16} << 20, 'x');
  std::mt19937 random{1};
  int begun = 0;
  for (int round = 0; round < 12; ++round) {
    auto const child = ::fork();
    if (child == 0) {
      folder.write(path, {bytes, bytes});
      ::_exit(0);
    }
    std::this_thread::sleep_for(std::chrono::microseconds{random() % 20000});
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    begun += fs::exists(temporary) ? 1 : 0;
    expect(!fs::exists(path) || fs::file_size(path) == 2 * bytes.size(), "a name stands for a whole file",
           std::to_string(round));
    fs::remove(path);
  }
  folder.write(path, {bytes});
  expect(fs::file_size(path) == bytes.size() && !fs::exists(temporary),
         "what a killed writer left is written over");
  if (begun == 0) { std::puts("no writer was killed half-way"); }
}

struct Slow {
  double read;
  double compute;
  double write;
  char const* slowest;
};

void test_waiting()
{
  auto const pause = [](double milliseconds) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>{milliseconds});
  };
  for (auto const& slow :
       {Slow{10, 1, 1, "reading"}, Slow{1, 10, 1, "computing"}, Slow{1, 1, 10, "writing"}}) {
    int next = 0;
    std::mutex mutex;
    std::multiset<int> finished;
    int wrong = 0;
    using Work = Pipeline<int, int, int, int>;
    Work work{{[&]() -> std::optional<int> { return next < 40 ? std::optional{next++} : std::nullopt; },
               [&](int job, int& input) {
                 pause(slow.read);
                 if (job == 7) { throw ScanError{"seven"}; }
                 input = 10 * job;
               },
               [&](int job, int const& input, int& output) {
                 pause(slow.compute);
                 if (job == 11) { throw ScanError{"eleven"}; }
                 output = input + 1;
                 return job;
               },
               [&](int job, int outcome, int const* output, std::string const& reason) {
                 pause(slow.write);
                 std::lock_guard const lock{mutex};
                 finished.insert(job);
                 bool const bad = job == 7 || job == 11;
                 bool const right = bad ? output == nullptr && reason == (job == 7 ? "seven" : "eleven")
                                        : output != nullptr && *output == 10 * job + 1 && outcome == job;
                 wrong += right ? 0 : 1;
               },
               [] { return false; }},
              std::vector<int>(2),
              std::vector<int>(2),
              1,
              1};
    auto const begin = std::chrono::steady_clock::now();
    work.run();
    double const seconds = std::chrono::duration<double>{std::chrono::steady_clock::now() - begin}.count();
    auto const times = work.times();
    expect(
        finished.size() == 40 && std::set<int>{finished.begin(), finished.end()}.size() == 40 && wrong == 0,
        "every job is finished once, those that failed with the reason", std::to_string(finished.size()));
    expect(times.bottleneck() == std::string{slow.slowest}, "the slowest stage is told", times.bottleneck());
    for (auto const* const stage : {&times.read, &times.compute, &times.write}) {
      expect(stage->busy() >= 0 && stage->waiting() >= 0 && stage->total <= seconds + 0.001,
             "a stage works or waits, and no longer than all takes", std::to_string(stage->total));
    }
    // Every stage sleeps as long as it was told: its work is not less, and what the others sleep is not in it.
    double const told[] = {40 * slow.read / 1000, 39 * slow.compute / 1000, 40 * slow.write / 1000};
    double const busy[] = {times.read.busy(), times.compute.busy(), times.write.busy()};
    for (std::size_t i = 0; i < 3; ++i) {
      expect(busy[i] >= 0.999 * told[i], "work is counted as work", std::to_string(busy[i]));
    }
  }
}

void test_stopping()
{
  for (int const readers : {1, 3}) {
    std::atomic<int> begun{0};
    std::atomic<int> finished{0};
    std::atomic<bool> stops{false};
    using Work = Pipeline<int, int, int, int>;
    auto const stages = [&](bool throws) {
      return Work::Stages{[&, n = 0]() mutable -> std::optional<int> { return n++; }, [](int, int&) {},
                          [&](int job, int const&, int&) {
                            if (++begun == 20) { stops = true; }
                            return job;
                          },
                          [&, throws](int job, int, int const*, std::string const&) {
                            if (throws && job >= 10) { throw Failure{"the disk is full"}; }
                            ++finished;
                          },
                          [&] { return stops.load(); }};
    };
    Work work{stages(false), std::vector<int>(4), std::vector<int>(3), readers, 2};
    work.run();
    expect(begun == 20 && finished == 20, "what is begun is finished, and nothing more is begun",
           std::to_string(begun) + ", " + std::to_string(finished));
    stops = false;
    begun = 100;
    Work broken{stages(true), std::vector<int>(4), std::vector<int>(3), readers, 2};
    auto const reason = refusal_of([&] {
      broken.run();
      return 0;
    });
    expect(reason == "the disk is full", "what is no fault of a scan ends all", reason);
  }
}

void test_lines()
{
  int ends[2];
  if (pipe(ends) != 0) { std::abort(); }
  std::thread writer{[&] {
    for (std::string const piece : {"one\ntw", "o\n\nthr", "ee"}) {
      if (write(ends[1], piece.data(), piece.size()) < 0) { std::abort(); }
      std::this_thread::sleep_for(std::chrono::milliseconds{20});
    }
    close(ends[1]);
  }};
  LineInput input{ends[0]};
  std::string seen;
  while (auto const line = input.next([] { return false; })) { seen += "[" + *line + "]"; }
  writer.join();
  close(ends[0]);
  expect(seen == "[one][two][][three]", "lines, however they arrive", seen);
  if (pipe(ends) != 0) { std::abort(); }
  LineInput silent{ends[0]};
  expect(!silent.next([] { return true; }), "the wait for a line can be broken off");
  close(ends[0]);
  close(ends[1]);
}

void test_efficiency()
{
  BusyTime busy;
  expect(busy.share() == 0, "nothing was computed");
  busy.add(0, 5);
  expect(busy.share() == 1, "one result has nothing to wait for");
  busy.add(5, 6);
  busy.add(6, 8);
  expect(busy.share() == 1, "a network that never waits", std::to_string(busy.share()));
  busy.add(11, 12);
  expect(std::abs(busy.share() - 4.0 / 7) < 1e-9, "the part of the time from the first result to the last",
         std::to_string(busy.share()));
}

int compare(char const* ply, char const* npy)
{
  auto const cloud = tessera::read_point_cloud(ply);
  auto const array = tessera::read_npy(npy);
  auto const labels = tessera::to_vector<std::int32_t>(array.tensor());
  bool const same = !labels.empty() && cloud.labels == labels;
  std::puts(same ? "the same" : "other labels");
  return same ? 0 : 1;
}

}  // namespace
}  // namespace label_scans

int main(int argc, char** argv)
{
  using namespace label_scans;
  if (argc == 3) { return compare(argv[1], argv[2]); }
  test_shards_are_disjoint_and_complete();
  test_shards_of_launchers();
  test_names();
  test_json();
  test_manifest();
  test_output();
  test_settings();
  test_killed_writers();  // before there are threads
  test_waiting();
  test_stopping();
  test_lines();
  test_efficiency();
  std::error_code error;
  fs::remove_all(scratch(), error);
  std::puts(faults == 0 ? "ok" : "FAILED");
  return faults == 0 ? 0 : 1;
}
