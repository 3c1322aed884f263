// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/packed_weights.hpp>
#include <tessera/nn/detail/plan_of_weight.hpp>
#include <tessera/nn/detail/scale_channels.hpp>
#include <tessera/nn/parameter.hpp>
#include <tessera/ops/weight_source.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

/// A parameter, and the version that something was made of.
struct SeenParameter {
  VariableId id = 0;
  std::atomic<std::uint64_t> const* version = nullptr;
  std::uint64_t seen = 0;

  template <class T>
  explicit SeenParameter(ParameterRef<T> const& of) : id{of.id}, version{of.version}
  {}
  [[nodiscard]] std::uint64_t now() const noexcept
  {
    return version != nullptr ? version->load(std::memory_order_acquire) : 0;
  }
};

/// A weight [volume, in, out] and a bias [out] that are computed from parameters, and computed again, in place,
/// when one of these was written.
template <class Scalar, class Space>
class ComputedWeights final : public DerivedWeight<Space> {
 public:
  /// Writes weight and bias; false where the scalar does not hold them.
  using Compute = std::function<bool(nn::Parameter<Scalar, Space>&, nn::Parameter<Scalar, Space>&,
                                     Execution<Space> const&)>;

  ComputedWeights(std::vector<std::int64_t> shape, std::vector<SeenParameter> from, Compute compute,
                  Execution<Space> const& exec)
      : weight_{shape, exec},
        bias_{{shape.back()}, exec},
        from_{std::move(from)},
        compute_{std::move(compute)}
  {}

  [[nodiscard]] nn::Parameter<Scalar, Space> const& weight() const noexcept { return weight_; }
  [[nodiscard]] nn::Parameter<Scalar, Space> const& bias() const noexcept { return bias_; }
  [[nodiscard]] std::vector<SeenParameter> const& from() const noexcept { return from_; }

  /// Computes them; false where the scalar does not hold them.
  [[nodiscard]] bool compute(Execution<Space> const& exec)
  {
    auto const lock = this->locked();
    return compute_now(exec);
  }

  [[nodiscard]] VariableId stale_parameter() const noexcept override
  {
    auto const lock = this->locked();
    return stale();
  }
  void append_parameters(std::vector<VariableId>& to) const override
  {
    for (auto const& parameter : from_) {
      if (parameter.id != 0) { to.push_back(parameter.id); }
    }
  }
  [[nodiscard]] bool update(Execution<Space> const& exec) override
  {
    auto const lock = this->locked();
    if (stale() == 0) { return computed_.order(exec); }
    if (WorkEvent<Space>::is_capturing(exec)) { return false; }
    expects(compute_now(exec), "fuse: a norm's new parameters make weights that ",
            name_of(ScalarTraits<Scalar>::dtype), " does not hold; trace and fuse the model again");
    return true;
  }

 private:
  [[nodiscard]] WorkEvent<Space>& event() noexcept override { return computed_; }
  [[nodiscard]] VariableId stale() const noexcept
  {
    for (auto const& parameter : from_) {
      if (parameter.now() != parameter.seen) { return parameter.id; }
    }
    return 0;
  }
  [[nodiscard]] bool compute_now(Execution<Space> const& exec)
  {
    auto next = from_;
    for (auto& parameter : next) { parameter.seen = parameter.now(); }  // first: a write meanwhile counts
    if (!compute_(weight_, bias_, exec)) { return false; }
    computed_.record(exec);
    from_.swap(next);
    return true;
  }

  nn::Parameter<Scalar, Space> weight_;
  nn::Parameter<Scalar, Space> bias_;
  std::vector<SeenParameter> from_;
  Compute compute_;
  WorkEvent<Space> computed_;
};

/// Weight and bias of a convolution or a linear layer with a norm folded in: a copy, so that the layer's own
/// stay as they are. Where a parameter that they were folded from is written, they are folded anew at the
/// next use.
template <class Scalar, class Space>
class FoldedWeights final : public ops::WeightSource<Scalar, Space> {
 public:
  using Computed = ComputedWeights<Scalar, Space>;

  FoldedWeights(std::shared_ptr<Computed> computed, int volume, int in_channels, bool is_identity)
      : computed_{std::move(computed)}, volume_{volume}, in_channels_{in_channels}, is_identity_{is_identity}
  {}

  [[nodiscard]] nn::Parameter<Scalar, Space> const& weight() const noexcept { return computed_->weight(); }
  [[nodiscard]] nn::Parameter<Scalar, Space> const& bias() const noexcept { return computed_->bias(); }
  [[nodiscard]] std::shared_ptr<Computed> const& computed() const noexcept { return computed_; }

  /// @throws invalid_argument  weights are out of date while a graph is captured, or no longer fit the scalar
  [[nodiscard]] PackedWeightView<Scalar> packed(ConvConfig const& config,
                                                Execution<Space> const& exec) const override
  {
    refresh(exec);
    bool const reads_packed =
        config.dataflow == Dataflow::implicit_gemm && (config.splits == 1 || volume_ == 1);
    if (!reads_packed) { return {}; }
    return packed_.get({config.kernel, config.math}, weight(), exec, [&] {
      return plan_of_weight(weight().data(), in_channels_, static_cast<int>(bias().size()), volume_,
                            is_identity_, config, exec);
    });
  }

  /// @throws invalid_argument  as packed()
  void refresh(Execution<Space> const& exec) const override
  {
    expects(computed_->update(exec),
            "fuse: folded weights are out of date while a graph is captured; run the model once before");
    WeightUses<Space>::note(computed_);
  }
  void drop_packs_but(ConvConfig const& config) const override
  {
    packed_.keep_only({config.kernel, config.math});
  }
  void append_origins(std::vector<VariableId>& to) const override { computed_->append_parameters(to); }

 private:
  std::shared_ptr<Computed> computed_;
  mutable PackedWeights<Scalar, Space> packed_;
  int volume_;
  int in_channels_;
  bool is_identity_;
};

}  // namespace detail
}  // namespace v0
}  // namespace tessera
