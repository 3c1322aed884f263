// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// Planned scans by the thousand, of changing size, with faults thrown in: does every output have the bits
// that the network gives layer by layer, is every fault told and no other, does memory come back, and do run
// times stay where they are?

#include "support/statistics.hpp"

#include <tessera/data/lidar_simulator.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/tessera.cuh>

#include <algorithm>
#include <atomic>
#include <command_line.hpp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <mutex>
#include <program.hpp>
#include <random>
#include <stream.cuh>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

using Model = ts::models::MinkUNet<3, __half>;
using Net = ts::nn::TracedModel<ts::SparseTensor<3, __half>>;
using Exec = ts::Execution<ts::Device>;

struct Options {
  bool help = false;
  std::int64_t scans = 10000;
  std::int64_t timed = 1000;
  unsigned seed = 1;
  double width = 1;
  double most_over_median = 10;  // percent
  std::vector<std::string> files;
};

Options parse(std::vector<std::string> const& arguments, std::string& help)
{
  Options options;
  program::CommandLine line;
  line.group("What is run");
  line.add("--scans", "N", "scans in all, by four threads with a plan each; 10,000 by default",
           [&](std::string const& text) {
             options.scans = program::parse_number<std::int64_t>("--scans", text, 1, 100000000);
           });
  line.add("--timed", "N", "scans of one size whose times are looked at before; 1,000 by default",
           [&](std::string const& text) {
             options.timed = program::parse_number<std::int64_t>("--timed", text, 10, 1000000);
           });
  line.add(
      "--width", "FACTOR", "of the larger MinkUNet; 1 by default. The smaller one has 0.25",
      [&](std::string const& text) { options.width = program::parse_number("--width", text, 0.04, 4.0); });
  line.add("--scan", "FILE", "a recorded scan, as often as wanted; without any they are simulated",
           [&](std::string const& text) { options.files.push_back(text); });
  line.add("--seed", "N", "of what is run in which order; 1 by default", [&](std::string const& text) {
    options.seed = program::parse_number<unsigned>("--seed", text, 0, UINT_MAX);
  });
  line.add("--p99", "PERCENT", "what the 99th percentile may be above the median; 10 by default",
           [&](std::string const& text) {
             options.most_over_median = program::parse_number("--p99", text, 0.0, 1e6);
           });
  line.group("Help");
  line.add("--help", "", "this text", [&](std::string const&) { options.help = true; });
  help =
      "usage: bench_soak [options]\n\nRuns planned networks on thousands of scans of changing size with "
      "faults "
      "among them, from four threads, and compares every bit.\n\n" +
      line.help() +
      "\nExit status: 0 all is right, 1 a bit, a report, memory or a time is not, 2 wrong options.\n";
  auto const positional = line.parse(arguments);
  if (!positional.empty()) {
    throw program::UsageError{"'" + positional.front() + "' is no option; --help lists them"};
  }
  return options;
}

/// Memory that is counted, and that is used up when told.
class CountedMemory final : public ts::MemoryResource {
 public:
  explicit CountedMemory(ts::MemoryResource& next) : next_{next} {}

  [[nodiscard]] void* allocate(std::size_t bytes, ts::StreamHandle stream) override
  {
    auto const left = left_.load();
    if (left == 0 || (left > 0 && left_.fetch_sub(1) <= 0)) { throw std::bad_alloc{}; }
    auto* const pointer = next_.allocate(bytes, stream);
    ++blocks_;
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes, ts::StreamHandle stream) noexcept override
  {
    --blocks_;
    next_.deallocate(pointer, bytes, stream);
  }
  /// From now on so many allocations succeed, then none; -1: all do.
  void allow(std::int64_t allocations) { left_ = allocations; }
  [[nodiscard]] std::int64_t blocks() const { return blocks_; }

 private:
  ts::MemoryResource& next_;
  std::atomic<std::int64_t> left_{-1};
  std::atomic<std::int64_t> blocks_{0};
};

/// Host memory that the device reads and writes.
template <class T>
class Pinned {
 public:
  explicit Pinned(std::size_t size)
  {
    void* memory = nullptr;
    program::check(cudaMallocHost(&memory, size * sizeof(T) + 1));
    data_ = static_cast<T*>(memory);
  }
  Pinned(Pinned const&) = delete;
  Pinned& operator=(Pinned const&) = delete;
  ~Pinned() { static_cast<void>(cudaFreeHost(data_)); }
  [[nodiscard]] T* data() const noexcept { return data_; }

 private:
  T* data_ = nullptr;
};

/// Counts words that differ.
struct CountDifferences {
  std::uint16_t const* a;    // [count]
  std::uint16_t const* b;    // [count]
  std::uint32_t* differing;  // [1]

  __device__ void operator()(std::int64_t i) const
  {
    if (a[i] != b[i]) { atomicAdd(differing, 1U); }
  }
};

constexpr float voxel_size = 0.05F;

ts::QuantizeOptions<3> quantizing()
{
  return ts::QuantizeOptions<3>(voxel_size)
      .origin(ts::GridOrigin::lowest_voxel)
      .range({-100, -100, -20}, {100, 100, 20});
}

/// A scan and what a network makes of it layer by layer.
struct Expected {
  std::vector<std::int32_t> labels;
  ts::Buffer<__half, ts::Device> logits;  // [voxels, 19]
  std::int64_t voxels = 0;
};
struct Scan {
  std::vector<float> points;  // [n, 4]
  ts::Buffer<ts::Coordinate<3>, ts::Device> coordinates;
  ts::Buffer<__half, ts::Device> features;  // [voxels, 4]
  Expected expected[2];                     // by network

  [[nodiscard]] std::int64_t size() const { return static_cast<std::int64_t>(points.size() / 4); }
};

/// The scans' points: whole ones and parts, one point, none, and some that are not finite or far away.
std::vector<Scan> make_pool(Options const& options)
{
  std::vector<ts::PointCloud> clouds;
  for (auto const& file : options.files) { clouds.push_back(ts::read_point_cloud(file)); }
  for (std::uint64_t seed = 1; options.files.empty() && seed <= 3; ++seed) {
    ts::LidarOptions lidar;
    lidar.seed = seed;
    clouds.push_back(ts::simulate_lidar(lidar));
  }
  std::mt19937 random{options.seed};
  std::vector<Scan> pool;
  for (auto const& cloud : clouds) {
    for (int const percent : {100, 70, 35, 10}) {
      auto& scan = pool.emplace_back();
      for (std::int64_t i = 0; i < cloud.size(); ++i) {
        if (static_cast<int>(random() % 100) >= percent) { continue; }
        auto const* const p = cloud.positions.data() + 3 * i;
        scan.points.insert(scan.points.end(), p, p + 3);
        scan.points.push_back(
            cloud.channels > 0 ? cloud.features[static_cast<std::size_t>(i * cloud.channels)] : 0.0F);
        if (percent == 70 && random() % 50 == 0) {
          scan.points[scan.points.size() - 4 + random() % 3] =
              random() % 2 == 0 ? std::numeric_limits<float>::quiet_NaN() : 1e9F;
        }
      }
    }
  }
  auto& one = pool.emplace_back();
  one.points = {1, 2, 3, 0.5F};
  pool.emplace_back();
  return pool;
}

void make_expected(Scan& scan, Net& net, Expected& expected, Exec const& exec)
{
  std::vector<float> positions;
  for (std::size_t i = 0; i < scan.points.size(); ++i) {
    if (i % 4 < 3) { positions.push_back(scan.points[i]); }
  }
  ts::Matrix<float, ts::Device> const where{ts::upload(positions, exec), scan.size(), 3};
  ts::Matrix<float, ts::Device> const features{ts::upload(scan.points, exec), scan.size(), 4};
  auto const voxels =
      ts::sparse_quantize(ts::PointsView<float>{where.view(), features.view()}, quantizing(), exec);
  auto half_features = ts::cast<__half>(voxels.features.view(), exec);
  scan.coordinates = ts::copy(voxels.coordinates->data(), voxels.num_voxels(), exec);
  scan.features = ts::copy(half_features.data(), half_features.size(), exec);
  ts::SparseTensor<3, __half> const x{voxels.coordinates, std::move(half_features)};
  auto const logits = net.forward(x, exec);
  expected.voxels = voxels.num_voxels();
  expected.logits = ts::copy(logits.features().data, logits.features().size(), exec);
  expected.labels =
      ts::download(ts::gather(ts::argmax(logits.features(), exec), voxels.inverse, -1, exec), exec);
}

/// What the threads found.
struct Findings {
  std::atomic<std::int64_t> scans{0};
  std::atomic<std::int64_t> faults{0};  // thrown in
  std::atomic<std::int64_t> failed_allocations{0};
  std::atomic<std::int64_t> wrong_bits{0};     // scans with any
  std::atomic<std::int64_t> wrong_reports{0};  // faults not told, or told of the wrong scan
  std::mutex mutex;
  std::string exception;  // the first
};

/// What a run of either kind of plan is compared with, and where it goes.
class Target {
 public:
  Target(std::int64_t points, std::int64_t voxels, Exec const& exec)
      : exec_{exec},
        labels_{static_cast<std::size_t>(points)},
        differing_{1},
        logits_{voxels * classes, exec},
        voxels_{voxels}
  {}
  static constexpr int classes = 19;

  [[nodiscard]] ts::PlanDestination<__half> destination(std::int64_t points, bool with_labels)
  {
    ts::PlanDestination<__half> to;
    to.features = {logits_.data(), voxels_, classes};
    if (with_labels) {
      to.labels = {labels_.data(), points, 1};
      std::fill_n(labels_.data(), points, -99);
    }
    return to;
  }
  /// Waits for the run and compares.
  [[nodiscard]] bool holds(Expected const& expected, bool with_labels)
  {
    *differing_.data() = 0;
    ts::for_each(
        expected.logits.size(),
        CountDifferences{reinterpret_cast<std::uint16_t const*>(logits_.data()),
                         reinterpret_cast<std::uint16_t const*>(expected.logits.data()), differing_.data()},
        exec_);
    exec_.wait();
    if (*differing_.data() != 0) { return false; }
    return !with_labels || std::equal(expected.labels.begin(), expected.labels.end(), labels_.data());
  }

 private:
  Exec exec_;
  Pinned<std::int32_t> labels_;
  Pinned<std::uint32_t> differing_;
  ts::Buffer<__half, ts::Device> logits_;
  std::int64_t voxels_;
};

using PointPlan = ts::Plan<Net, ts::QuantizeOptions<3>>;

/// Scans from points to labels.
class PointRunner {
 public:
  PointRunner(Net& net, int network, std::vector<Scan> const& pool, std::int64_t points, std::int64_t voxels,
              Exec const& exec)
      : pool_{pool},
        network_{network},
        exec_{exec},
        most_points_{points},
        plan_{net, ts::PlanLimits().max_points(points).max_voxels(voxels).voxelize(quantizing()), exec},
        points_{static_cast<std::size_t>(4 * points + 4)},
        target_{points, voxels, exec}
  {}

  void run(std::mt19937& random, Findings& findings)
  {
    auto const& scan = pool_[random() % pool_.size()];
    auto const& expected = scan.expected[network_];
    auto const kind = random() % 12;
    auto count = scan.size();
    std::copy(scan.points.begin(), scan.points.end(), points_.data());
    if (kind == 0) {  // too many points, as the host knows: nothing is enqueued
      ++findings.faults;
      auto const status = plan_.try_run({points_.data(), most_points_ + 1, 4},
                                        target_.destination(most_points_, true), exec_.stream());
      if (status.error != ts::RunError::too_many_points) { ++findings.wrong_reports; }
    } else if (kind == 1) {  // each point in a voxel of its own: more than there is room for
      ++findings.faults;
      count = most_points_;
      for (std::int64_t i = 0; i < count; ++i) {
        float const point[] = {0.1F * static_cast<float>(i % 1000) - 50,
                               0.1F * static_cast<float>(i / 1000) - 50, 0, 1};
        std::copy(point, point + 4, points_.data() + 4 * i);
      }
      auto const status =
          plan_.try_run({points_.data(), count, 4}, target_.destination(count, true), exec_.stream());
      exec_.wait();
      auto const report = plan_.status();
      if (!status.ok() || !report.over_capacity || report.out_of_bounds || report.duplicates) {
        ++findings.wrong_reports;
      }
      plan_.acknowledge();
    } else {
      auto const status =
          plan_.try_run({points_.data(), count, 4}, target_.destination(count, true), exec_.stream());
      if (!status.ok() || !target_.holds(expected, true)) { ++findings.wrong_bits; }
      if (!plan_.status().ok()) { ++findings.wrong_reports; }
    }
    ++findings.scans;
  }

  /// Milliseconds of runs of the pool's first scan, from before the call to the labels.
  [[nodiscard]] std::vector<double> times(std::int64_t count)
  {
    auto const& scan = pool_.front();
    std::copy(scan.points.begin(), scan.points.end(), points_.data());
    auto const to = target_.destination(scan.size(), true);
    std::vector<double> result;
    for (std::int64_t i = -20; i < count; ++i) {
      program::Clock const clock;
      static_cast<void>(plan_.run({points_.data(), scan.size(), 4}, to, exec_));
      exec_.wait();
      if (i >= 0) { result.push_back(clock.milliseconds()); }
    }
    plan_.check();
    return result;
  }

 private:
  std::vector<Scan> const& pool_;
  int network_;
  Exec exec_;
  std::int64_t most_points_;
  PointPlan plan_;
  Pinned<float> points_;
  Target target_;
};

/// Voxels to logits, with what may be wrong with voxels.
class VoxelRunner {
 public:
  VoxelRunner(Net& net, int network, std::vector<Scan> const& pool, std::int64_t voxels, Exec const& exec)
      : pool_{pool},
        network_{network},
        exec_{exec},
        box_{*ts::voxel_box(quantizing())},
        plan_{net, ts::PlanLimits().max_voxels(voxels).box(box_), exec},
        count_{1, exec},
        target_{0, voxels, exec},
        most_{voxels}
  {}

  void run(std::mt19937& random, Findings& findings)
  {
    auto const& scan = pool_[random() % pool_.size()];
    auto const& expected = scan.expected[network_];
    auto const kind = random() % 8;
    auto const rows = expected.voxels;
    if (kind >= 3 || rows < 2) {
      auto const status = enqueue(scan.coordinates.data(), scan.features.data(), {rows, nullptr});
      if (!status.ok() || !target_.holds(expected, false)) { ++findings.wrong_bits; }
      if (!plan_.status().ok()) { ++findings.wrong_reports; }
      ++findings.scans;
      return;
    }
    ++findings.faults;
    auto changed = ts::copy(scan.coordinates.data(), rows, exec_);
    if (kind == 0) {
      copy_row(changed.data() + rows - 1, changed.data());
    } else if (kind == 1) {
      ts::Coordinate<3> outside;
      outside.position = box_.upper;
      outside.position[1] += 1;
      ts::for_each(1, ts::detail::StoreValue<ts::Coordinate<3>>{changed.data() + rows / 2, outside}, exec_);
    }
    auto const told = static_cast<std::int32_t>(kind == 2 ? most_ + 1 : rows);
    ts::for_each(1, ts::detail::StoreValue<std::int32_t>{count_.data(), told}, exec_);
    auto const status = enqueue(changed.data(), scan.features.data(), {rows, count_.data()});
    exec_.wait();
    auto const report = plan_.status();
    bool const right = report.duplicates == (kind == 0) && report.out_of_bounds == (kind == 1) &&
                       report.over_capacity == (kind == 2);
    if (!status.ok() || (kind < 2 && !right) || (kind == 2 && !report.over_capacity)) {
      ++findings.wrong_reports;
    }
    plan_.acknowledge();
    ++findings.scans;
  }

 private:
  [[nodiscard]] ts::RunStatus enqueue(ts::Coordinate<3> const* rows, __half const* features,
                                      ts::RowCount const& count)
  {
    return plan_.try_run(reinterpret_cast<std::int32_t const*>(rows), features, count,
                         target_.destination(0, false), exec_.stream());
  }
  void copy_row(ts::Coordinate<3>* to, ts::Coordinate<3> const* from)
  {
    ts::detail::Transfer<ts::Device>::copy(to, from, sizeof(*to), exec_);
  }

  std::vector<Scan> const& pool_;
  int network_;
  Exec exec_;
  ts::CoordinateBox<3> box_;
  ts::Plan<Net> plan_;
  ts::Buffer<std::int32_t, ts::Device> count_;
  Target target_;
  std::int64_t most_;
};

/// Makes a plan with memory that ends at one allocation after the other: no failure may leave anything.
class Misfortune {
 public:
  explicit Misfortune(Exec const& exec) : memory_{exec.memory()}, exec_{exec.stream(), &memory_}
  {
    net_ = std::make_unique<Model>(ts::MinkUNetOptions(4, Target::classes).width(0.25), exec);
  }

  void meet(Findings& findings)
  {
    memory_.allow(allowed_);
    try {
      ts::Plan const plan{*net_, ts::PlanLimits().max_points(100).voxelize(quantizing()), exec_};
      allowed_ = 0;
    } catch (std::bad_alloc const&) {
      allowed_ = allowed_ < 20 ? allowed_ + 1 : allowed_ * 5 / 4;
      ++findings.failed_allocations;
    }
    memory_.allow(-1);
    exec_.wait();
  }
  /// Blocks that are live though nobody is left, at the end.
  [[nodiscard]] std::int64_t left()
  {
    net_.reset();
    exec_.wait();
    return memory_.blocks();
  }

 private:
  CountedMemory memory_;
  Exec exec_;
  std::unique_ptr<Model> net_;
  std::int64_t allowed_ = 0;
};

std::size_t device_memory_in_use()
{
  std::size_t free = 0;
  std::size_t total = 0;
  program::check(cudaDeviceSynchronize());
  program::check(cudaMemGetInfo(&free, &total));
  return total - free;
}

void soak(Options const& options)
{
  auto const absence = program::absence_of_gpu();
  if (!absence.empty()) { throw program::Failure{absence}; }
  cudaDeviceProp properties{};
  program::check(cudaGetDeviceProperties(&properties, 0));
  program::Clock const whole;
  program::Stream const stream;
  ts::PoolMemoryResource pool_memory{0};
  CountedMemory memory{pool_memory};
  Findings findings;
  std::vector<std::string> wrong;
  {
    Exec const exec{stream.get(), &memory};
    Model small_model{ts::MinkUNetOptions(4, Target::classes).width(0.25), exec};
    Model large_model{ts::MinkUNetOptions(4, Target::classes).width(options.width), exec};
    ts::SparseTensor<3, __half> const nothing{
        ts::make_coordinate_set(std::vector<ts::Coordinate<3>>{}, {}, exec),
        ts::Matrix<__half, ts::Device>{0, 4, exec}};
    auto small = ts::nn::fuse(small_model, nothing, exec);
    auto large = ts::nn::fuse(large_model, nothing, exec);
    Net* const nets[2] = {&small, &large};
    char const* const names[2] = {"small", "large"};
    auto pool = make_pool(options);
    std::int64_t points = 1;
    std::int64_t voxels = 1;
    for (auto& scan : pool) {
      for (int network = 0; network < 2; ++network) {
        make_expected(scan, *nets[network], scan.expected[network], exec);
        voxels = std::max(voxels, scan.expected[network].voxels);
      }
      points = std::max(points, scan.size());
    }
    points = std::max(points, voxels + 1000);  // room for points that are more voxels than there is room for
    std::printf("%s, %zu scans of up to %s points and %s voxels, networks of width 0.25 and %g\n",
                properties.name, pool.size(), program::with_commas(points).c_str(),
                program::with_commas(voxels).c_str(), options.width);

    std::printf(
        "\nmilliseconds of one scan, from points in host memory to labels there; one thread, %s runs\n",
        program::with_commas(options.timed).c_str());
    for (int network = 0; network < 2; ++network) {
      PointRunner runner{*nets[network], network, pool, points, voxels, exec};
      memory.allow(0);  // a run allocates nothing
      auto const times = runner.times(options.timed);
      memory.allow(-1);
      auto const found = bench::summary(times);
      auto const above = 100 * (found.p99_ms / found.median_ms - 1);
      std::printf("  %s: median %.3f, p99 %.3f (%.1f %% above), max %.3f\n", names[network], found.median_ms,
                  found.p99_ms, above, *std::max_element(times.begin(), times.end()));
      if (above > options.most_over_median) {
        wrong.push_back(std::string{names[network]} +
                        ": the 99th percentile is further above the median than " +
                        std::to_string(options.most_over_median) + " %");
      }
    }

    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    std::int64_t left_by_misfortune[4] = {};
    double milliseconds[4] = {};
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        try {
          program::Stream const own_stream;
          Exec const own{own_stream.get(), &memory};
          std::mt19937 random{options.seed * 4 + static_cast<unsigned>(t)};
          int const network = t % 2;
          std::unique_ptr<PointRunner> from_points;
          std::unique_ptr<VoxelRunner> from_voxels;
          if (t < 3) {
            from_points = std::make_unique<PointRunner>(*nets[network], network, pool, points, voxels, own);
          } else {
            from_voxels = std::make_unique<VoxelRunner>(*nets[network], network, pool, voxels, own);
          }
          Misfortune misfortune{own};
          auto const one = [&](std::mt19937& which, Findings& found) {
            from_points != nullptr ? from_points->run(which, found) : from_voxels->run(which, found);
          };
          Findings rehearsal;
          std::mt19937 first{99};
          for (int i = 0; i < 30; ++i) { one(first, rehearsal); }
          misfortune.meet(rehearsal);
          ++ready;
          while (!go) { std::this_thread::yield(); }
          auto const share = options.scans / 4 + (t < options.scans % 4 ? 1 : 0);
          program::Clock const clock;
          for (std::int64_t i = 0; i < share; ++i) {
            one(random, findings);
            if (i % 50 == 25) { misfortune.meet(findings); }
          }
          own.wait();
          milliseconds[t] = clock.milliseconds();
          left_by_misfortune[t] = misfortune.left();
        } catch (std::exception const& error) {
          std::lock_guard const lock{findings.mutex};
          if (findings.exception.empty()) { findings.exception = error.what(); }
          ++ready;
        }
      });
    }
    while (ready < 4) { std::this_thread::yield(); }
    auto const before = device_memory_in_use();
    go = true;
    for (auto& thread : threads) { thread.join(); }
    auto const after = device_memory_in_use();

    std::printf("\n%s scans by four threads with a plan each, %.1f s\n",
                program::with_commas(findings.scans).c_str(),
                *std::max_element(milliseconds, milliseconds + 4) / 1000);
    auto const grown = after > before ? after - before : 0;
    auto const number = [](std::atomic<std::int64_t> const& value) { return program::with_commas(value); };
    std::printf("  faults thrown in        %s\n", number(findings.faults).c_str());
    std::printf("  allocations that failed %s\n", number(findings.failed_allocations).c_str());
    std::printf("  scans with a wrong bit  %s\n", number(findings.wrong_bits).c_str());
    std::printf("  wrong reports           %s\n", number(findings.wrong_reports).c_str());
    std::printf("  device memory           %zu MB before, %zu MB after\n", before >> 20, after >> 20);
    if (!findings.exception.empty()) { wrong.push_back("a thread ended with: " + findings.exception); }
    if (findings.scans != options.scans) { wrong.emplace_back("not every scan was run"); }
    if (findings.wrong_bits > 0) { wrong.emplace_back("wrong bits"); }
    if (findings.wrong_reports > 0) { wrong.emplace_back("wrong reports"); }
    if (grown > std::size_t{64} << 20) { wrong.emplace_back("device memory grew by more than 64 MB"); }
    for (auto const blocks : left_by_misfortune) {
      if (blocks != 0) { wrong.emplace_back("blocks are left of plans that were never made"); }
    }
  }
  std::printf("  blocks live at the end  %lld\n", static_cast<long long>(memory.blocks()));
  if (memory.blocks() != 0) { wrong.emplace_back("blocks are live at the end"); }
  std::printf("\n%.0f s in all: %s\n", whole.milliseconds() / 1000,
              wrong.empty() ? "all is right" : "NOT RIGHT");
  if (!wrong.empty()) {
    std::string sentence;
    for (auto const& fault : wrong) { sentence += (sentence.empty() ? "" : "; ") + fault; }
    throw program::Failure{sentence};
  }
}

}  // namespace

int main(int argc, char** argv)
{
  return program::run_program("bench_soak", argc, argv, parse, soak);
}
