// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// One submanifold 3x3x3 convolution, C -> C, its map and order cached: forward, and each gradient.

#include "training.cuh"

namespace bench {
namespace {

template <class Scalar>
ts::Matrix<Scalar, ts::Device> random_rows(std::int64_t rows, int channels, std::uint64_t seed,
                                           ts::Execution<ts::Device> const& exec)
{
  std::vector<Scalar> features(static_cast<std::size_t>(rows * channels));
  for (auto& value : features) {
    auto const bits = ts::detail::next_random(seed) >> 40;
    value = static_cast<Scalar>(static_cast<float>(bits) * 0x1p-24F - 0.5F);
  }
  return ts::upload_matrix(features, channels, exec);
}

template <class Scalar>
void measure(Session& session, Voxels const& voxels, int channels)
{
  auto const case_of = [&](char const* name) {
    Result result;
    result.name = std::string{"submanifold 3x3x3 "} + name;
    result.workload = voxels.name;
    result.variant = "C" + std::to_string(channels) + " " + session.options().precision;
    result.rows = voxels.size();
    return result;
  };
  auto const all = std::array<char const*, 4>{"forward", "backward data", "backward weight", "all gradients"};
  bool wanted = false;
  for (auto const* const name : all) { wanted = wanted || session.wants(case_of(name)); }
  if (!wanted) { return; }

  auto const& exec = session.exec();
  ts::CoordinateSetOptions<3> const options{1, ts::SpatialRange<3>{1, voxels.grid}};
  auto const set = ts::make_coordinate_set(voxels.rows, options, exec);
  auto const map =
      ts::kernel_map(*set, ts::ConvolutionKind::submanifold, geometry_of(3, 1, 0), ts::compat::none, exec)
          .map;
  auto const x = random_rows<Scalar>(voxels.size(), channels, 1, exec);
  auto const dy = random_rows<Scalar>(voxels.size(), channels, 2, exec);
  auto const weight = random_rows<Scalar>(std::int64_t{27} * channels, channels, 3, exec);
  auto const view = ts::plain_weight(weight.data(), 27, channels, channels);
  ts::Buffer<float, ts::Device> gradient{weight.size(), exec};
  ts::SparseTensor<3, Scalar> const tensor{
      set, ts::Matrix<Scalar, ts::Device>{ts::copy(x.data(), x.size(), exec), x.rows(), x.columns()}};
  ts::nn::Conv<3, Scalar> conv{ts::ConvOptions<3>(channels, channels, 3), exec};
  using Exec = ts::Execution<ts::Device>;
  auto const forward = [&](Exec const& on) { static_cast<void>(conv(tensor, on)); };
  auto const of_data = [&](Exec const& on) {
    static_cast<void>(
        ts::convolution_backward_data(std::as_const(dy).view(), view, *map, ts::MathMode::exact, on));
  };
  auto const of_weight = [&](Exec const& on) {
    ts::convolution_backward_weight(std::as_const(x).view(), std::as_const(dy).view(), *map, gradient.data(),
                                    ts::GradientMode::overwrite, on);
  };
  session.measure(case_of(all[0]), forward);
  session.measure(case_of(all[1]), of_data);
  session.measure(case_of(all[2]), of_weight);
  session.measure(case_of(all[3]), [&](Exec const& on) {
    forward(on);
    of_data(on);
    of_weight(on);
  });
}

void measure(Session& session, Voxels const& voxels, std::vector<int> const& channels)
{
  for (int const c : channels) {
    if (session.options().precision == "fp16") {
      measure<__half>(session, voxels, c);
    } else {
      measure<__nv_bfloat16>(session, voxels, c);
    }
  }
}

}  // namespace

void layer_gradients(Session& session)
{
  measure(session, semkitti(session.folder()), {64, 128, 256});
  measure(session, ten_sweeps(session.folder()), {64, 128});
  measure(session, sphere(256), {256});
  measure(session, sphere(512), {128});
}

}  // namespace bench
