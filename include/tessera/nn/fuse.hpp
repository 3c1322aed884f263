// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include <tessera/nn/detail/fold_norm.hpp>
#include <tessera/nn/detail/fuse_graph.hpp>
#include <tessera/nn/trace.hpp>
#include <tessera/ops/activation.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/normalization.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

namespace tessera {
inline namespace v0 {
namespace detail {

/// The pass of fuse(): each rule looks at one operation and joins it with the one before.
template <int Dim, class Scalar, class Space>
class FusePass {
 public:
  using Tensor = SparseTensor<Dim, Scalar, Space>;
  using Graph = FuseGraph<Space>;
  using Conv = ops::ConvolutionRecord<Dim, Scalar, Space>;
  using Linear = ops::LinearRecord<Tensor, Scalar, Space>;
  using Points = PointTensor<Dim, Scalar, Space>;
  using PointsLinear = ops::LinearRecord<Points, Scalar, Space>;
  using RowsLinear = ops::LinearRecord<Matrix<Scalar, Space>, Scalar, Space>;
  using Variable = ops::Recorded<Tensor>;
  using Variables = ops::Recorded<std::vector<Tensor>>;

  FusePass(Graph& graph, Execution<Space> const& exec) : graph_{graph}, exec_{exec} {}

  void run()
  {
    for (std::size_t i = 0; i < graph_.size(); ++i) {
      if (graph_.is_there(i)) { join_cat(i); }
    }
    for (std::size_t i = 0; i < graph_.size(); ++i) {  // in order, so that chains fold link by link
      if (!graph_.is_there(i)) { continue; }
      fold<Tensor, Conv>(i) || fold<Tensor, Linear>(i) || fold<Points, PointsLinear>(i) ||
          fold<Matrix<Scalar, Space>, RowsLinear>(i) || take_activation<Conv>(i) ||
          take_activation<Linear>(i) || take_activation<PointsLinear>(i) || take_activation<RowsLinear>(i) ||
          take_sum(i);
    }
    for (std::size_t i = graph_.size(); i-- > 0;) { remove_unread(i); }
  }

 private:
  template <class Record>
  [[nodiscard]] Record const* at(std::size_t i) const
  {
    return dynamic_cast<Record const*>(&graph_[i]);
  }
  /// The operation that makes variable `id`, where it is of that type and nothing else reads the variable.
  template <class Record>
  [[nodiscard]] std::size_t only_source(VariableId id) const
  {
    auto const i = graph_.only_source(id);
    return i != Graph::none && at<Record>(i) != nullptr ? i : Graph::none;
  }

  /// A copy of a convolution or a linear layer that makes `output`.
  [[nodiscard]] static std::shared_ptr<Conv> with_output(Conv const& record, VariableId output)
  {
    return Conv::renamed(record, Variable{output}, record.input(), record.second(), record.residual());
  }
  template <class Value>
  [[nodiscard]] static auto with_output(ops::LinearRecord<Value, Scalar, Space> const& record,
                                        VariableId output)
  {
    using Record = ops::LinearRecord<Value, Scalar, Space>;
    return Record::renamed(record, ops::Recorded<Value>{output}, record.input());
  }

  void remove_unread(std::size_t i)
  {
    if (!graph_.is_there(i)) { return; }
    auto const outputs = graph_[i].outputs();
    bool const is_read = std::any_of(outputs.begin(), outputs.end(), [&](VariableId id) {
      return graph_.is_output(id) || !graph_.readers(id).empty();
    });
    if (!is_read) { graph_.remove(i); }
  }

  /// cat of two tensors -> the convolutions that read it, where the kernels of all read two.
  void join_cat(std::size_t i)
  {
    auto const* const cat = at<ops::CatRecord<Dim, Scalar, Space>>(i);
    if (cat == nullptr || cat->input().size() != 2 || graph_.is_output(cat->output().id())) { return; }
    auto const readers = graph_.readers(cat->output().id());
    for (auto const reader : readers) {
      auto const* const conv = at<Conv>(reader);
      bool const reads_it_alone =
          conv != nullptr && conv->second().size() == 0 && conv->residual().size() == 0;
      if (!reads_it_alone || !kernel_reads_two(*conv, cat->channels)) { return; }
    }
    if (readers.empty()) { return; }
    for (auto const reader : readers) {
      auto const& conv = *at<Conv>(reader);
      graph_.replace(reader, Conv::renamed(conv, conv.output(), cat->input()[0],
                                           Variables{std::vector<Variable>{cat->input()[1]}}, Variables{}));
    }
    graph_.remove(i);
  }
  [[nodiscard]] bool kernel_reads_two(Conv const& conv, std::vector<int> const& channels) const
  {
    return reads_two_tensors<Dim, Scalar, Space>(channels[0], channels[1], conv.weight.data(),
                                                 conv.weight.data(), conv.weight.data(), conv.options,
                                                 conv.method, exec_);
  }

  /// conv or linear + batch_norm -> one with folded weights.
  template <class Value, class Record>
  bool fold(std::size_t i)
  {
    auto const* const norm = at<ops::BatchNormRecord<Value, Space>>(i);
    if (norm == nullptr) { return false; }
    auto const source = only_source<Record>(norm->input().id());
    if (source == Graph::none) { return false; }
    auto const& record = *at<Record>(source);
    if (record.options.activation != Activation::none || has_residual(record)) { return false; }
    auto const folded = fold_norm(record, norm->options, exec_);
    if (folded == nullptr) { return false; }  // its scalar does not hold what the weights would be
    auto joined = with_output(record, norm->output().id());
    joined->weight = folded->weight();
    joined->bias = folded->bias();
    joined->source = folded;
    if constexpr (!std::is_same_v<Record, Conv>) { joined->options.is_transposed = false; }
    graph_.replace(source, std::move(joined));
    graph_.remove(i);
    return true;
  }
  [[nodiscard]] static bool has_residual(Conv const& conv) { return conv.residual().size() > 0; }
  template <class Record>
  [[nodiscard]] static bool has_residual(Record const&)
  {
    return false;
  }

  /// Whether what carries it out applies an epilogue: all but a dataflow of the user's that does not say so.
  [[nodiscard]] static bool has_epilogue(Conv const& conv)
  {
    return conv.method == nullptr || conv.method->has_epilogue();
  }
  template <class Record>
  [[nodiscard]] static bool has_epilogue(Record const&)
  {
    return true;
  }

  /// conv or linear + activation -> one with an activation.
  template <class Record>
  bool take_activation(std::size_t i)
  {
    auto const* const info = at<ops::ActivationInfo>(i);
    if (info == nullptr || info->activation == Activation::none) { return false; }
    auto const source = only_source<Record>(graph_[i].inputs()[0]);
    if (source == Graph::none) { return false; }
    auto const& record = *at<Record>(source);
    if (record.options.activation != Activation::none || !has_epilogue(record)) { return false; }
    auto joined = with_output(record, graph_[i].outputs()[0]);
    joined->options.activation = info->activation;
    joined->options.slope = info->slope;
    graph_.replace(source, std::move(joined));
    graph_.remove(i);
    return true;
  }

  /// conv + add, or add_activate -> a convolution with a residual, in the place of the sum: the residual may
  /// be made after the convolution.
  bool take_sum(std::size_t i)
  {
    auto const* const sum = at<ops::AddActivateRecord<Dim, Scalar, Space>>(i);
    if (sum != nullptr) {
      return take_sum(i, sum->template input<0>(), sum->template input<1>(), sum->activation, sum->slope);
    }
    auto const* const plain = at<ops::AddRecord<Dim, Scalar, Space>>(i);
    return plain != nullptr &&
           take_sum(i, plain->template input<0>(), plain->template input<1>(), Activation::none, 0.01F);
  }
  bool take_sum(std::size_t i, Variable const& a, Variable const& b, Activation activation, float slope)
  {
    bool const first = takes_residual(only_source<Conv>(a.id()));
    auto const source = only_source<Conv>(first ? a.id() : b.id());
    if (!takes_residual(source) || a.id() == b.id()) { return false; }
    auto const& conv = *at<Conv>(source);
    auto joined = Conv::renamed(conv, Variable{graph_[i].outputs()[0]}, conv.input(), conv.second(),
                                Variables{std::vector<Variable>{first ? b : a}});
    joined->options.activation = activation;
    joined->options.slope = slope;
    graph_.replace(i, std::move(joined));
    graph_.remove(source);
    return true;
  }
  [[nodiscard]] bool takes_residual(std::size_t source) const
  {
    if (source == Graph::none) { return false; }
    auto const& conv = *at<Conv>(source);
    return has_epilogue(conv) && conv.residual().size() == 0 && conv.options.activation == Activation::none;
  }

  Graph& graph_;
  Execution<Space> const& exec_;
};

}  // namespace detail

namespace nn {

/// Joins operations of a traced model for faster inference:
///
/// - batch normalisation goes into the convolution or linear layer before it: `weight' = weight * s`,
///   `bias' = bias * s + b - mean * s` with `s = gamma / sqrt(variance + eps)`;
/// - activations that an Epilogue knows go into the convolution or linear layer before them, and so does the
///   sum at the end of a residual block into a convolution;
/// - convolutions of cat({a, b}) read both tensors as they are, where their kernels can;
/// - operations whose results nobody reads are left out.
///
/// It does so wherever nothing else reads what is between, however the model is written, and for any
/// ConvPolicy; into a dataflow of yours activations and sums go where it says `has_epilogue`. Outputs stay
/// the same up to the rounding of the new weights. These are copies, so the model that was traced stays as it
/// is and can be trained and saved; after a write to its parameters the copies are folded anew at their next
/// use. Fusing twice changes nothing.
///
/// A norm whose weights or shifts would not be finite in the layer's scalar, as a half is not above 65504,
/// stays an operation. What is folded is rounded once more: to nearest, below 2^-14 in a half to a multiple
/// of 2^-24.
/// @throws invalid_argument  the model is in another space than `exec`
/// Cost: three passes over the weights, and their memory once more.
/// Stream: enqueues a few kernels per layer, and waits once per norm.
/// Determinism: same parameters, same result.
/// Source: batch-norm folding (Jacob et al., CVPR 2018, and every inference engine).
template <class Tensor, class Output>
void fuse(TracedModel<Tensor, Output>& model, Execution<typename Tensor::space> const& exec)
{
  using Space = typename Tensor::space;
  auto const plain = exec.without_recorder();
  detail::FuseGraph<Space> graph{model.operations(), model.outputs()};
  detail::FusePass<Tensor::dim, typename Tensor::scalar, Space>{graph, plain}.run();
  model.replace(graph.take());
}

/// trace() and fuse() of a model: `auto fast = nn::fuse(net, x, exec);`, which is called as the model is.
/// Errors, cost, stream, determinism: theirs.
/// @param model  after its checkpoint was loaded, or before: folded weights follow those of the model
template <class Model, class Input, class Space>
[[nodiscard]] auto fuse(Model&& model, Input const& x, Execution<Space> const& exec,
                        TraceConstants<Space> const& constants = {})
{
  auto result = trace(model, x, exec, constants);
  fuse(result, exec);
  return result;
}

}  // namespace nn
}  // namespace v0
}  // namespace tessera
