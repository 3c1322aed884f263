// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
//
// A network made ready for the vehicle: fused, planned as one CUDA graph, run scan after scan with no
// allocation and no wait; and the same bits layer by layer, kernel maps on map streams. Then from points to
// labels inside a TensorRT plugin, a ROS 2 node, a thread, a graph and a memory resource of somebody else's.

#include "deploy/ros_node.cuh"
#include "deploy/tensorrt.cuh"
#include "deploy/worker.cuh"

#include <tessera/tessera.cuh>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace ts = tessera;

namespace {

ts::SparseTensor<3, __half> voxelize(std::uint64_t seed, ts::Execution<ts::Device> const& exec)
{
  ts::LidarOptions options;
  options.seed = seed;
  ts::PointCloud const scan = ts::simulate_lidar(options);
  auto const positions = ts::upload_matrix(scan.positions, 3, exec);
  auto const intensity = ts::cast<__half>(ts::upload_matrix(scan.features, scan.channels, exec), exec);
  auto voxels =
      ts::sparse_quantize(ts::PointsView<__half>{positions, intensity}, ts::QuantizeOptions<3>(0.4F), exec);
  return {voxels.coordinates, std::move(voxels.features)};
}

using Net = ts::models::MinkUNet<3, __half>;

int run_voxels(cudaStream_t stream)
{
  ts::Execution const exec{stream};
  // [with_maps]
  ts::MapStreams map_streams{stream};
  auto const with_maps = exec.with_map_streams(map_streams);  // for the scan's tensor and for the network
  // [with_maps]
  auto const typical = voxelize(1, exec);

  // [plan]
  ts::models::MinkUNet<3, __half> net(ts::MinkUNetOptions(typical.channels(), 19).width(0.5), exec);
  // ts::io::load(net, "minkunet.safetensors", ts::io::TorchSparse{}, exec);

  // norms, activations and sums go into the convolutions; its forward pass derives the coarser levels, whose sizes
  // `like` takes
  auto fast = ts::nn::fuse(net, typical, exec);
  ts::Plan plan(fast, ts::PlanLimits().like(*typical.coordinates(), 1.5), exec);
  std::printf("%zu kernels and fills, %.1f MB\n", plan.num_nodes(), static_cast<double>(plan.bytes()) / 1e6);
  // [plan]

  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    auto const scan = voxelize(seed, exec);
    // [run]
    auto const& logits = plan.run(scan, exec);  // enqueues a copy and a graph; in the plan's memory
    // [run]
    auto const planned = logits.features_on_host(exec);
    plan.check();  // waits, and throws if a scan did not fit
    auto const eager = fast(scan, exec).features_on_host(exec);
    auto const again = fast(voxelize(seed, with_maps), with_maps).features_on_host(with_maps);
    bool const same = planned.size() == eager.size() && again.size() == eager.size() &&
                      std::memcmp(planned.data(), eager.data(), planned.size() * sizeof(__half)) == 0 &&
                      std::memcmp(again.data(), eager.data(), again.size() * sizeof(__half)) == 0;
    std::printf("scan %llu: %lld voxels, %s\n", static_cast<unsigned long long>(seed),
                static_cast<long long>(scan.num_rows()), same ? "the bits of forward()" : "DIFFERENT");
    if (!same) { return 1; }
  }
  return 0;
}

/// Points x, y, z, intensity of a simulated scan.
std::vector<float> points_of(std::uint64_t seed)
{
  ts::LidarOptions options;
  options.seed = seed;
  ts::PointCloud const scan = ts::simulate_lidar(options);
  std::vector<float> points;
  for (std::size_t i = 0; i < static_cast<std::size_t>(scan.size()); ++i) {
    points.insert(points.end(), scan.positions.data() + 3 * i, scan.positions.data() + 3 * i + 3);
    points.push_back(scan.features[i * static_cast<std::size_t>(scan.channels)]);
  }
  return points;
}

/// A scan as a driver publishes it: rings as rows, other fields between.
sensor_msgs::msg::PointCloud2 message_of(std::vector<float> const& points)
{
  using Field = sensor_msgs::msg::PointField;
  constexpr std::uint32_t step = 32;
  auto const count = static_cast<std::uint32_t>(points.size() / 4);
  sensor_msgs::msg::PointCloud2 cloud{1, count, {}, false, step, count * step, {}};
  cloud.fields = {{"x", 0, Field::FLOAT32, 1},
                  {"y", 4, Field::FLOAT32, 1},
                  {"z", 8, Field::FLOAT32, 1},
                  {"intensity", 16, Field::FLOAT32, 1},
                  {"ring", 20, 4, 1}};
  cloud.data.resize(std::size_t{count} * step);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(cloud.data.data() + i * step, points.data() + 4 * i, 3 * sizeof(float));
    std::memcpy(cloud.data.data() + i * step + 16, points.data() + 4 * i + 3, sizeof(float));
  }
  return cloud;
}

bool told(char const* what, bool right)
{
  std::printf("%s: %s\n", what, right ? "the labels of the stages one by one" : "DIFFERENT");
  return right;
}

int run_points(cudaStream_t stream)
{
  ts::Execution const exec{stream};
  auto const net = std::make_shared<Net>(ts::MinkUNetOptions(4, 19).width(0.5), exec);

  // [points]
  auto const options = ts::QuantizeOptions<3>(0.4F)
                           .origin(ts::GridOrigin::lowest_voxel)
                           .range({-80, -80, -10}, {80, 80, 10});  // a range: short keys, a quicker sort
  auto const limits = ts::PlanLimits().max_points(150000).max_voxels(60000).fuse().voxelize(options);
  ts::Plan plan(*net, limits, exec);
  // [points]

  std::vector<std::vector<float>> scans;
  std::vector<std::vector<std::int32_t>> expected;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    auto const& points = scans.emplace_back(points_of(seed));
    std::vector<float> positions;
    for (std::size_t i = 0; i < points.size(); ++i) {
      if (i % 4 < 3) { positions.push_back(points[i]); }
    }
    auto const where = ts::upload_matrix(positions, 3, exec);
    auto const features = ts::upload_matrix(points, 4, exec);
    auto const voxels = ts::sparse_quantize(ts::PointsView<float>{where, features}, options, exec);
    ts::SparseTensor<3, __half> const x{voxels.coordinates, ts::cast<__half>(voxels.features.view(), exec)};
    auto const logits = ts::nn::fuse(*net, x, exec).forward(x, exec);
    auto const of_voxels = ts::argmax(logits.features(), exec);
    expected.push_back(ts::download(ts::gather(of_voxels, voxels.inverse, -1, exec), exec));
  }
  auto const count = static_cast<std::int64_t>(expected[0].size());

  // [labels]
  deploy::Pinned<float> points(scans[0].size());
  deploy::Pinned<std::int32_t> labels(expected[0].size());
  std::copy(scans[0].begin(), scans[0].end(), points.data());
  ts::PlanDestination<__half> to;
  to.labels = {labels.data(), count, 1};          // on the device, or pinned as here
  plan.run({points.data(), count, 4}, to, exec);  // enqueues a copy and a graph, and the labels' way back
  exec.wait();
  plan.check();
  // [labels]
  bool right = told("points", std::equal(expected[0].begin(), expected[0].end(), labels.data()));

  auto* const graph = deploy::captured(plan, points, count, labels, stream);
  std::fill_n(labels.data(), count, -5);
  if (graph == nullptr || cudaGraphLaunch(graph, stream) != cudaSuccess) { return 1; }
  exec.wait();
  plan.check();
  right = told("a graph", std::equal(expected[0].begin(), expected[0].end(), labels.data())) && right;
  if (cudaGraphExecDestroy(graph) != cudaSuccess) { return 1; }

  std::vector<std::int32_t> published;
  deploy::SegmentNode<Net> node(
      *net, limits, [&](std::int32_t const* first, std::int64_t n) { published.assign(first, first + n); },
      exec);
  for (std::size_t i = 0; i < scans.size(); ++i) {
    node.callback(message_of(scans[i]));
    right = told("a node", published == expected[i]) && right;
  }
  {
    deploy::Worker<Net> worker(*net, limits);
    std::vector<std::future<std::vector<std::int32_t>>> futures;
    for (auto const& scan : scans) { futures.push_back(worker.label(scan)); }
    auto too_many = worker.label(std::vector<float>(4 * 150001));
    for (std::size_t i = 0; i < scans.size(); ++i) {
      right = told("a thread", futures[i].get() == expected[i]) && right;
    }
    right = too_many.get().empty() && right;
  }
  deploy::PoolOfTheirs pool;
  {
    deploy::TheirMemory memory{pool};
    ts::Execution const theirs(stream, &memory);
    ts::Plan own(*net, limits, theirs);
    auto const before = pool.live.load();
    std::fill_n(labels.data(), count, -5);
    own.run({points.data(), count, 4}, to, theirs);
    exec.wait();
    right = pool.live == before && before >= static_cast<std::int64_t>(own.bytes()) && right;
    right = told("their memory", std::equal(expected[0].begin(), expected[0].end(), labels.data())) && right;
  }
  return right && pool.live == 0 ? 0 : 1;
}

/// What TensorRT would do with a plugin.
int run_plugin(cudaStream_t stream)
{
  ts::Execution const exec{stream};
  auto const scan = voxelize(2, exec);
  auto const net = std::make_shared<Net>(ts::MinkUNetOptions(scan.channels(), 19).width(0.5), exec);
  auto const expected = net->forward(scan, exec).features_on_host(exec);
  auto const most = scan.num_rows() + 1000;
  deploy::SegmentPlugin<Net> plugin(net, ts::PlanLimits().max_voxels(most), exec);

  auto const count = ts::upload(std::vector<std::int32_t>{static_cast<std::int32_t>(scan.num_rows())}, exec);
  ts::Buffer<std::int32_t, ts::Device> coordinates(4 * most, exec);
  ts::Buffer<__half, ts::Device> features(most * scan.channels(), exec);
  ts::Buffer<__half, ts::Device> logits(most * 19, exec);
  ts::Buffer<std::int32_t, ts::Device> used(1, exec);
  deploy::check(cudaMemcpyAsync(coordinates.data(), scan.coordinates()->data(),
                                static_cast<std::size_t>(scan.num_rows()) * sizeof(ts::Coordinate<3>),
                                cudaMemcpyDeviceToDevice, stream));
  deploy::check(cudaMemcpyAsync(features.data(), scan.features().data,
                                static_cast<std::size_t>(scan.features().size()) * sizeof(__half),
                                cudaMemcpyDeviceToDevice, stream));
  nvinfer1::PluginTensorDesc const in[] = {{{2, {most, 4}}}, {{2, {most, scan.channels()}}}, {{1, {1}}}};
  nvinfer1::PluginTensorDesc const out[] = {{{2, {most, 19}}}, {{1, {1}}}};
  void const* const inputs[] = {coordinates.data(), features.data(), count.data()};
  void* const outputs[] = {logits.data(), used.data()};
  if (plugin.enqueue(in, out, inputs, outputs, nullptr, stream) != 0) { return 1; }
  bool const counted = ts::download(used, exec)[0] == scan.num_rows();
  auto const found = ts::download(logits.data(), static_cast<std::int64_t>(expected.size()), exec);
  bool const same = std::memcmp(found.data(), expected.data(), found.size() * sizeof(__half)) == 0;
  std::printf("a plugin: %s\n", counted && same ? "the bits of forward()" : "DIFFERENT");

  nvinfer1::PluginTensorDesc const small[] = {{{2, {most - 1, 19}}}, {{1, {1}}}};
  bool const refused = plugin.enqueue(in, small, inputs, outputs, nullptr, stream) != 0;
  return counted && same && refused ? 0 : 1;
}

int run(cudaStream_t stream)
{
  for (auto* const part : {run_voxels, run_points, run_plugin}) {
    if (int const status = part(stream); status != 0) { return status; }
  }
  return 0;
}

}  // namespace

int main()
{
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  cudaStream_t stream = nullptr;
  if (cudaStreamCreate(&stream) != cudaSuccess) { return 1; }
  int const status = run(stream);
  if (cudaStreamDestroy(stream) != cudaSuccess) { return 1; }
  std::puts(status == 0 ? "ok" : "FAILED");
  return status;
}
