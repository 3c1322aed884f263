// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

// A decoder of shapes: four times channels become children, from 1024 channels at 1 / 16 of the grid to 64. It has the
// channels and operations of TRELLIS.2's, whose subdivision a network predicts; here it is that of a sphere.

#include "networks.cuh"

#include <tessera/ops/channels_to_space.hpp>

namespace bench {
namespace {

/// mask[i] = which children of voxel i the sphere passes through, first axis fastest.
struct MaskChildren {
  ts::CoordinateView<3> voxels;
  SphereSurface of_children;
  std::uint8_t* mask;

  __device__ void operator()(std::int64_t i) const
  {
    unsigned bits = 0;
    if (i < voxels.size()) {
      for (int child = 0; child < 8; ++child) {
        ts::IntArray<3> cell;
        for (int axis = 0; axis < 3; ++axis) {
          cell[axis] = 2 * voxels[i].position[axis] + (child >> axis & 1);
        }
        bits |= of_children.passes(cell) ? 1U << child : 0U;
      }
    }
    mask[i] = static_cast<std::uint8_t>(bits);
  }
};

/// `x + linear(silu(linear(norm(conv(x)))))`, four times the channels inside.
template <class Scalar>
class Block final : public ts::nn::Module<3, Scalar> {
 public:
  using typename ts::nn::Module<3, Scalar>::Tensor;

  Block(int channels, ts::ConvConfig const& config, ts::Execution<ts::Device> const& exec)
      : conv_{ts::ConvOptions<3>(channels, channels, 3).config(config), exec},
        norm_{channels, exec},
        wide_{ts::LinearOptions(channels, 4 * channels).math(config.math), exec},
        narrow_{ts::LinearOptions(4 * channels, channels).math(config.math), exec}
  {
    this->register_child("conv", conv_);
    this->register_child("norm", norm_);
    this->register_child("wide", wide_);
    this->register_child("narrow", narrow_);
  }
  [[nodiscard]] Tensor forward(Tensor const& x, ts::Execution<ts::Device> const& exec) override
  {
    auto const wide = ts::silu(wide_(norm_(conv_(x, exec), exec), exec), exec);
    return ts::add(x, narrow_(wide, exec), exec);
  }

 private:
  ts::nn::Conv<3, Scalar> conv_;
  ts::nn::LayerNorm<3, Scalar> norm_;
  ts::nn::Linear<3, Scalar> wide_;
  ts::nn::Linear<3, Scalar> narrow_;
};

/// shape_decoder_layers() as a network.
template <class Scalar>
class ShapeDecoder final : public ts::nn::Module<3, Scalar> {
 public:
  using typename ts::nn::Module<3, Scalar>::Tensor;

  ShapeDecoder(ts::ConvConfig const& config, ts::Execution<ts::Device> const& exec)
      : first_{ts::LinearOptions(shape_decoder_inputs, shape_decoder_channels[0]).math(config.math), exec},
        last_{ts::LinearOptions(shape_decoder_channels.back(), shape_decoder_outputs).math(config.math), exec}
  {
    this->register_child("first", first_);
    this->register_child("last", last_);
    for (std::size_t k = 0; k + 1 < shape_decoder_channels.size(); ++k) {
      int const c = shape_decoder_channels[k];
      int const next = shape_decoder_channels[k + 1];
      for (int block = 0; block < shape_decoder_blocks; ++block) {
        blocks_.push_back(std::make_unique<Block<Scalar>>(c, config, exec));
        this->register_child("blocks." + std::to_string(blocks_.size() - 1), *blocks_.back());
      }
      auto const name = std::to_string(k);
      norms_.push_back(std::make_unique<ts::nn::LayerNorm<3, Scalar>>(c, exec));
      this->register_child("norms." + name, *norms_.back());
      widen_.push_back(std::make_unique<Conv>(ts::ConvOptions<3>(c, 8 * next, 3).config(config), exec));
      this->register_child("widen." + name, *widen_.back());
      mix_.push_back(std::make_unique<Conv>(ts::ConvOptions<3>(next, next, 3).config(config), exec));
      this->register_child("mix." + name, *mix_.back());
    }
  }
  /// @param latent  [voxels, shape_decoder_inputs], with a spatial range
  [[nodiscard]] Tensor forward(Tensor const& latent, ts::Execution<ts::Device> const& exec) override
  {
    auto x = first_(latent, exec);
    std::size_t block = 0;
    for (std::size_t k = 0; k < widen_.size(); ++k) {
      for (int i = 0; i < shape_decoder_blocks; ++i) { x = blocks_[block++]->forward(x, exec); }
      auto const pieces = widen_[k]->forward(ts::silu(norms_[k]->forward(x, exec), exec), exec);
      auto const& set = *x.coordinates();
      ts::Matrix<std::uint8_t, ts::Device> mask{set.capacity(), 1, exec};
      SphereSurface const of_children{2 * set.spatial_range()->extent[0]};
      ts::for_each(mask.rows(), MaskChildren{set.view(), of_children, mask.data()}, exec);
      x = mix_[k]->forward(ts::channels_to_space(pieces, mask, ts::ChildOrder::first_axis_fastest, exec),
                           exec);
    }
    return last_(x, exec);
  }

 private:
  using Conv = ts::nn::Conv<3, Scalar>;

  ts::nn::Linear<3, Scalar> first_;
  ts::nn::Linear<3, Scalar> last_;
  std::vector<std::unique_ptr<Block<Scalar>>> blocks_;
  std::vector<std::unique_ptr<ts::nn::LayerNorm<3, Scalar>>> norms_;
  std::vector<std::unique_ptr<Conv>> widen_;
  std::vector<std::unique_ptr<Conv>> mix_;
};

/// Layer by layer: the number of children is what each level waits for.
template <class Scalar>
void measure_on(Session& session, int extent)
{
  Result result;
  result.name = "TRELLIS.2-shaped decoder";
  result.workload = "sphere surface " + std::to_string(extent);
  if (!wants_any(session, result, {"eager"})) { return; }
  auto const finest = sphere_surface(extent);
  auto latent = sphere_surface(extent / 16);
  latent.tensor_stride = 16;
  latent.channels = shape_decoder_inputs;
  latent.features.assign(latent.rows.size() * shape_decoder_inputs, 0.5F);
  auto config = ts::thread_conv_config();
  if (session.options().precision == "tf32") { config.math = ts::MathMode::tf32; }
  ts::PoolMemoryResource pool{session.exec().device()};
  {
    ShapeDecoder<Scalar> decoder{config, session.exec()};
    NetworkBenchmark<Scalar> benchmark{
        session, latent, work_on<Scalar>(shape_decoder_layers(), finest, session), result, pool};
    benchmark.eager(decoder, "eager");
  }
  session.exec().wait();
}

template <class Scalar>
void measure_decoders(Session& session)
{
  for (int const extent : {256, 512}) { measure_on<Scalar>(session, extent); }
}

}  // namespace

void measure_decoder(Session& session)
{
  auto const& precision = session.options().precision;
  if (precision == "fp16") { return measure_decoders<__half>(session); }
  if (precision == "bf16") { return measure_decoders<__nv_bfloat16>(session); }
  measure_decoders<float>(session);
}

}  // namespace bench
