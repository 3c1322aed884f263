// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/conv/arguments.hpp>
#include <tessera/ops/activation_backward.hpp>
#include <tessera/ops/detail/columns.hpp>
#include <tessera/ops/detail/elementwise.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/tensor/sparse_tensor.hpp>

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

namespace tessera {
inline namespace v0 {
namespace detail {

template <class Sum>
struct AddFunction {
  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const { return x[0] + x[1]; }
};

template <class Sum>
struct MultiplyFunction {
  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const { return x[0] * x[1]; }
};

/// activation(a + b), so that a residual block makes one pass.
template <class Sum>
struct AddActivateFunction {
  Activation activation;
  float slope;

  TESSERA_HOST_DEVICE Sum operator()(Sum const* x, std::int64_t) const
  {
    return apply_activation(x[0] + x[1], activation, static_cast<Sum>(slope));
  }
};

template <int Dim, class Scalar, class Space, class Function>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> map_both(SparseTensor<Dim, Scalar, Space> const& a,
                                                        SparseTensor<Dim, Scalar, Space> const& b,
                                                        Function const& function, char const* who,
                                                        char const* instead, Execution<Space> const& exec)
{
  expect_same_voxels(a, b, who, instead);
  expects(a.channels() == b.channels(), who, ": ", a.channels(), " and ", b.channels(),
          " channels; both must have as many");
  return a.with_features(map_elements<Scalar>(function, exec, a.features(), b.features()));
}

/// cat() of the `count` tensors from `first` on.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat_unrecorded(SparseTensor<Dim, Scalar, Space> const* first,
                                                              std::size_t count, Execution<Space> const& exec)
{
  expects(count >= 1, "cat: no tensors");
  std::int64_t channels = 0;
  bool in_packs = true;
  for (auto const* x = first; x != first + count; ++x) {
    expect_same_voxels(*first, *x, "cat", "cat_by_coordinate()");
    channels += x->channels();
    in_packs = in_packs && moves_in_packs(x->features().data, x->channels());
  }
  Matrix<Scalar, Space> y{first->capacity(), channels, exec};
  with_pack_size<Scalar>(in_packs, [&](auto size) {
    std::int64_t offset = 0;
    for (auto const* x = first; x != first + count; ++x) {
      auto const packs = std::int64_t{x->channels()} / size();
      CopyColumns<Scalar, size()> const body{x->features().data, y.data() + offset, packs, x->channels(),
                                             channels};
      for_each(x->capacity() * packs, body, exec);
      offset += x->channels();
    }
  });
  return first->with_features(std::move(y));
}

}  // namespace detail

namespace ops {

/// `y = a + b`.
template <int Dim, class Scalar, class Space>
struct AddRecord final
    : FunctionRecord<AddRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using AddRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "add"; }
  [[nodiscard]] Tensor compute(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const
  {
    using Function = detail::AddFunction<accumulator_t<Scalar>>;
    return detail::map_both(a, b, Function{}, "add", "add_by_coordinate()", exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    gradients.template pass<Scalar>(this->output().id(), this->input().id(), exec);
    gradients.template pass<Scalar>(this->output().id(), this->template input<1>().id(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }
};

/// `y = a * b`, element by element.
template <int Dim, class Scalar, class Space>
struct MultiplyRecord final
    : FunctionRecord<MultiplyRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using MultiplyRecord::FunctionRecord::FunctionRecord;

  [[nodiscard]] char const* name() const noexcept override { return "multiply"; }
  [[nodiscard]] Tensor compute(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const
  {
    using Function = detail::MultiplyFunction<accumulator_t<Scalar>>;
    return detail::map_both(a, b, Function{}, "multiply", "multiply_by_coordinate()", exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& a = this->input();
    auto const& b = this->template input<1>();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    auto const times = [&](Tensor const& other) {
      using Function = detail::MultiplyFunction<accumulator_t<Scalar>>;
      return detail::map_elements<Scalar>(Function{}, exec, grad, other.features());
    };
    if (gradients.wants(a.id())) { gradients.add(a.id(), times(*b.value()), exec); }
    if (gradients.wants(b.id())) { gradients.add(b.id(), times(*a.value()), exec); }
  }
  void give_back_unread(Gradients<Space> const& gradients)
  {
    auto& a = this->input();
    auto& b = this->template input<1>();
    if (!gradients.wants(a.id())) { b.give_back(); }
    if (!gradients.wants(b.id())) { a.give_back(); }
    this->output().give_back();
  }
};

/// `y = activation(a + b)`.
template <int Dim, class Scalar, class Space>
struct AddActivateRecord final
    : FunctionRecord<AddActivateRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     SparseTensor<Dim, Scalar, Space>, SparseTensor<Dim, Scalar, Space>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Variable = Recorded<Tensor>;

  AddActivateRecord(Variable y, Variable a, Variable b, Activation function, float function_slope)
      : AddActivateRecord::FunctionRecord{std::move(y), std::move(a), std::move(b)},
        activation{function},
        slope{function_slope}
  {}

  [[nodiscard]] char const* name() const noexcept override { return "add_activate"; }
  [[nodiscard]] Tensor compute(Tensor const& a, Tensor const& b, Execution<Space> const& exec) const
  {
    using Function = detail::AddActivateFunction<accumulator_t<Scalar>>;
    return detail::map_both(a, b, Function{activation, slope}, "add_activate", "add_by_coordinate()", exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const& a = this->input();
    auto const& b = this->template input<1>();
    auto const grad = gradients.template of<Scalar>(this->output().id());
    auto const of_sum = [&]() -> Matrix<Scalar, Space> {
      if (reads_output()) {
        return activation_backward<Scalar>(grad, this->output().value()->features(), activation, slope, exec);
      }
      using Function = detail::SumActivationGradientFunction<accumulator_t<Scalar>>;
      return detail::map_elements<Scalar>(Function{activation, slope}, exec, grad, a.value()->features(),
                                          b.value()->features());
    };
    gradients.add({a.id(), b.id()}, of_sum(), exec);
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/)
  {
    if (!reads_output()) { return this->output().give_back(); }
    this->input().give_back();
    this->template input<1>().give_back();
  }

  Activation activation;
  float slope;  // of leaky_relu

 private:
  [[nodiscard]] bool reads_output() const { return detail::gradient_reads_output(activation, slope); }
};

/// `y = cat(x...)`.
template <int Dim, class Scalar, class Space>
struct CatRecord final
    : FunctionRecord<CatRecord<Dim, Scalar, Space>, Space, SparseTensor<Dim, Scalar, Space>,
                     std::vector<SparseTensor<Dim, Scalar, Space>>> {
  using Tensor = SparseTensor<Dim, Scalar, Space>;

  CatRecord(Tensor const& y, Tensor const* first, std::size_t count)
      : CatRecord::FunctionRecord{Recorded<Tensor>{y}, Recorded<std::vector<Tensor>>{first, count}}
  {
    for (auto const* x = first; x != first + count; ++x) { channels.push_back(x->channels()); }
  }

  [[nodiscard]] char const* name() const noexcept override { return "cat"; }
  [[nodiscard]] Tensor compute(std::vector<Tensor> const& x, Execution<Space> const& exec) const
  {
    return detail::cat_unrecorded(x.data(), x.size(), exec);
  }
  void backward(Gradients<Space>& gradients, Execution<Space> const& exec) const override
  {
    auto const grad = gradients.template of<Scalar>(this->output().id());
    std::int64_t first = 0;
    for (std::size_t i = 0; i < channels.size(); ++i) {
      auto const id = this->input()[i].id();
      if (gradients.wants(id)) {
        gradients.add(id, detail::take_columns<Scalar>(grad, first, channels[i], exec), exec);
      }
      first += channels[i];
    }
  }
  void give_back_unread(Gradients<Space> const& /*gradients*/) { this->give_all_back(); }

  std::vector<int> channels;  // of each tensor
};

}  // namespace ops

namespace detail {

template <class Record, int Dim, class Scalar, class Space, class Function>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> combine_two(SparseTensor<Dim, Scalar, Space> const& a,
                                                           SparseTensor<Dim, Scalar, Space> const& b,
                                                           Function const& function, char const* who,
                                                           char const* instead, Execution<Space> const& exec)
{
  using Variable = ops::Recorded<SparseTensor<Dim, Scalar, Space>>;
  return run_recorded(
      exec, [&](auto const& inside) { return map_both(a, b, function, who, instead, inside); },
      [&](auto const& y) { return std::make_shared<Record>(Variable{y}, Variable{a}, Variable{b}); });
}

/// @param who  begins the sentence of an error
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_activate(SparseTensor<Dim, Scalar, Space> const& a,
                                                            SparseTensor<Dim, Scalar, Space> const& b,
                                                            Activation activation, float slope,
                                                            char const* who, Execution<Space> const& exec)
{
  using Record = ops::AddActivateRecord<Dim, Scalar, Space>;
  using Variable = typename Record::Variable;
  AddActivateFunction<accumulator_t<Scalar>> const function{activation, slope};
  return run_recorded(
      exec, [&](auto const& inside) { return map_both(a, b, function, who, "add_by_coordinate()", inside); },
      [&](auto const& y) {
        return std::make_shared<Record>(Variable{y}, Variable{a}, Variable{b}, activation, slope);
      });
}

template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat(SparseTensor<Dim, Scalar, Space> const* first,
                                                   std::size_t count, Execution<Space> const& exec)
{
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  return run_recorded(
      exec, [&](auto const& inside) { return cat_unrecorded(first, count, inside); },
      [&](Tensor const& y) { return std::make_shared<ops::CatRecord<Dim, Scalar, Space>>(y, first, count); });
}

}  // namespace detail

/// The sum of two tensors on one coordinate set: `y[i, c] = a[i, c] + b[i, c]`. For tensors on different
/// sets: add_by_coordinate().
/// @throws invalid_argument  other coordinate sets or channels
/// Cost: one pass over the features.
/// Stream: enqueues one kernel, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add(SparseTensor<Dim, Scalar, Space> const& a,
                                                   SparseTensor<Dim, Scalar, Space> const& b,
                                                   Execution<Space> const& exec)
{
  return detail::combine_two<ops::AddRecord<Dim, Scalar, Space>>(
      a, b, detail::AddFunction<accumulator_t<Scalar>>{}, "add", "add_by_coordinate()", exec);
}

/// The elementwise product of two tensors on one coordinate set: `y[i, c] = a[i, c] * b[i, c]`.
/// Errors, cost, stream, determinism: as add().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> multiply(SparseTensor<Dim, Scalar, Space> const& a,
                                                        SparseTensor<Dim, Scalar, Space> const& b,
                                                        Execution<Space> const& exec)
{
  return detail::combine_two<ops::MultiplyRecord<Dim, Scalar, Space>>(
      a, b, detail::MultiplyFunction<accumulator_t<Scalar>>{}, "multiply", "multiply_by_coordinate()", exec);
}

/// The activated sum of two tensors on one coordinate set, `y[i, c] = activation(a[i, c] + b[i, c])`, rounded
/// once: the end of a residual block.
/// @param slope  of Activation::leaky_relu
/// Errors, cost, stream, determinism: as add().
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_activate(SparseTensor<Dim, Scalar, Space> const& a,
                                                            SparseTensor<Dim, Scalar, Space> const& b,
                                                            Activation activation, float slope,
                                                            Execution<Space> const& exec)
{
  return detail::add_activate(a, b, activation, slope, "add_activate", exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> add_activate(SparseTensor<Dim, Scalar, Space> const& a,
                                                            SparseTensor<Dim, Scalar, Space> const& b,
                                                            Activation activation,
                                                            Execution<Space> const& exec)
{
  return add_activate(a, b, activation, 0.01F, exec);
}

/// Tensors on one coordinate set side by side, the first one's channels first: `cat({up, skip}, exec)`.
/// @throws invalid_argument  no tensors, or other coordinate sets
/// Cost: one pass over each.
/// Stream: enqueues a kernel for each, does not wait.
/// Determinism: same input, same bits.
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat(
    std::initializer_list<SparseTensor<Dim, Scalar, Space>> tensors, Execution<Space> const& exec)
{
  return detail::cat(tensors.begin(), tensors.size(), exec);
}
template <int Dim, class Scalar, class Space>
[[nodiscard]] SparseTensor<Dim, Scalar, Space> cat(
    std::vector<SparseTensor<Dim, Scalar, Space>> const& tensors, Execution<Space> const& exec)
{
  return detail::cat(tensors.data(), tensors.size(), exec);
}

}  // namespace v0
}  // namespace tessera
