// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

// Everything that needs no CUDA compiler, in the order of the data flow. Include single stages to compile
// faster.

#include <tessera/core/buffer.hpp>
#include <tessera/core/build_notes.hpp>
#include <tessera/core/error.hpp>
#include <tessera/core/execution.hpp>
#include <tessera/core/int_array.hpp>
#include <tessera/core/matrix.hpp>
#include <tessera/core/parallel.hpp>
#include <tessera/core/recorder.hpp>
#include <tessera/core/scalar.hpp>
#include <tessera/core/variable.hpp>
#include <tessera/core/version.hpp>
//
#include <tessera/points/point_cloud.hpp>
//
#include <tessera/coords/child_order.hpp>
#include <tessera/coords/collate.hpp>
#include <tessera/coords/combine_sets.hpp>
#include <tessera/coords/coordinate_set.hpp>
#include <tessera/coords/fixed_quantize.hpp>
#include <tessera/coords/quantize.hpp>
#include <tessera/coords/space_filling_curve.hpp>
#include <tessera/coords/vote_labels.hpp>
#include <tessera/coords/voxel_options.hpp>
#include <tessera/coords/voxelize.hpp>
//
#include <tessera/hash/coordinate_hash.hpp>
#include <tessera/hash/coordinate_table.hpp>
#include <tessera/hash/voxel_of_points.hpp>
//
#include <tessera/kmap/build.hpp>
#include <tessera/kmap/coordinate_operations.hpp>
#include <tessera/kmap/kernel_shape.hpp>
#include <tessera/kmap/pair_list.hpp>
#include <tessera/kmap/point_map.hpp>
#include <tessera/kmap/restore.hpp>
#include <tessera/kmap/tile_map.hpp>
//
#include <tessera/tensor/borrow.hpp>
#include <tessera/tensor/collate.hpp>
#include <tessera/tensor/copy_into.hpp>
#include <tessera/tensor/dense.hpp>
#include <tessera/tensor/dlpack.hpp>
#include <tessera/tensor/labels.hpp>
#include <tessera/tensor/point_tensor.hpp>
#include <tessera/tensor/sparse_tensor.hpp>
//
#include <tessera/conv/convolution.hpp>
#include <tessera/conv/convolution_backward.hpp>
#include <tessera/conv/over_map.hpp>
//
#include <tessera/ops/activation.hpp>
#include <tessera/ops/activation_backward.hpp>
#include <tessera/ops/bev.hpp>
#include <tessera/ops/broadcast.hpp>
#include <tessera/ops/cast.hpp>
#include <tessera/ops/channels_to_space.hpp>
#include <tessera/ops/combine.hpp>
#include <tessera/ops/combine_by_coordinate.hpp>
#include <tessera/ops/convolution.hpp>
#include <tessera/ops/convolution_method.hpp>
#include <tessera/ops/copy.hpp>
#include <tessera/ops/custom.hpp>
#include <tessera/ops/dense.hpp>
#include <tessera/ops/dropout.hpp>
#include <tessera/ops/global_pooling.hpp>
#include <tessera/ops/gradients.hpp>
#include <tessera/ops/grouped_convolution.hpp>
#include <tessera/ops/layer_norm.hpp>
#include <tessera/ops/linear.hpp>
#include <tessera/ops/linear_backward.hpp>
#include <tessera/ops/loss/add_losses.hpp>
#include <tessera/ops/loss/cross_entropy.hpp>
#include <tessera/ops/loss/dice_loss.hpp>
#include <tessera/ops/loss/focal_loss.hpp>
#include <tessera/ops/loss/lovasz_softmax.hpp>
#include <tessera/ops/loss/smooth_l1.hpp>
#include <tessera/ops/normalization.hpp>
#include <tessera/ops/point_features.hpp>
#include <tessera/ops/point_voxel.hpp>
#include <tessera/ops/pool_over_map.hpp>
#include <tessera/ops/pooling.hpp>
#include <tessera/ops/prune.hpp>
#include <tessera/ops/record.hpp>
#include <tessera/ops/reorder.hpp>
#include <tessera/ops/replay.hpp>
#include <tessera/ops/unpool.hpp>
#include <tessera/ops/work.hpp>
//
#include <tessera/autograd/checkpoint.hpp>
#include <tessera/autograd/tape.hpp>
//
#include <tessera/nn/activation.hpp>
#include <tessera/nn/batch_norm.hpp>
#include <tessera/nn/blocks.hpp>
#include <tessera/nn/calibrate.hpp>
#include <tessera/nn/conv.hpp>
#include <tessera/nn/conv_options.hpp>
#include <tessera/nn/costs.hpp>
#include <tessera/nn/dropout.hpp>
#include <tessera/nn/fuse.hpp>
#include <tessera/nn/group_norm.hpp>
#include <tessera/nn/grouped_conv.hpp>
#include <tessera/nn/layer_config.hpp>
#include <tessera/nn/layer_norm.hpp>
#include <tessera/nn/layer_registry.hpp>
#include <tessera/nn/linear.hpp>
#include <tessera/nn/module.hpp>
#include <tessera/nn/pooling.hpp>
#include <tessera/nn/profile.hpp>
#include <tessera/nn/profile_table.hpp>
#include <tessera/nn/registry.hpp>
#include <tessera/nn/row_module.hpp>
#include <tessera/nn/sequential.hpp>
#include <tessera/nn/sparse_blocks.hpp>
#include <tessera/nn/sparse_layers.hpp>
#include <tessera/nn/sparse_pooling.hpp>
#include <tessera/nn/spvconv.hpp>
#include <tessera/nn/synchronize.hpp>
#include <tessera/nn/to_bev.hpp>
#include <tessera/nn/trace.hpp>
#include <tessera/nn/traced_output.hpp>
#include <tessera/nn/tune.hpp>
#include <tessera/nn/tune_options.hpp>
#include <tessera/nn/tuning.hpp>
//
#include <tessera/data/augmentation.hpp>
#include <tessera/data/data_set.hpp>
#include <tessera/data/labelled_points.hpp>
#include <tessera/data/lidar_simulator.hpp>
#include <tessera/data/loader.hpp>
#include <tessera/data/mix_points.hpp>
#include <tessera/data/point_batch.hpp>
#include <tessera/data/simulated_scans.hpp>
//
#include <tessera/train/communicator.hpp>
#include <tessera/train/confusion_matrix.hpp>
#include <tessera/train/data_parallel.hpp>
#include <tessera/train/gradient_reducer.hpp>
#include <tessera/train/moving_average.hpp>
#include <tessera/train/optimizer.hpp>
#include <tessera/train/parameter_arena.hpp>
#include <tessera/train/parameter_groups.hpp>
#include <tessera/train/rules.hpp>
#include <tessera/train/schedule.hpp>
#include <tessera/train/step_state.hpp>
//
#include <tessera/models/minkunet.hpp>
#include <tessera/models/minkunet_backbone.hpp>
#include <tessera/models/sparse_encoder.hpp>
#include <tessera/models/sparse_encoder_options.hpp>
#include <tessera/models/sparse_resnet21d.hpp>
#include <tessera/models/sparse_resunet42.hpp>
#include <tessera/models/sparse_unet.hpp>
#include <tessera/models/spvcnn.hpp>
#include <tessera/models/spvnas.hpp>
#include <tessera/models/spvnas_config.hpp>
#include <tessera/models/spvnas_latency.hpp>
#include <tessera/models/spvnas_search.hpp>
#include <tessera/models/spvnas_supernet.hpp>
//
#include <tessera/plan/destination.hpp>
#include <tessera/plan/forward_bev.hpp>
#include <tessera/plan/forward_voxels.hpp>
#include <tessera/plan/limits.hpp>
#include <tessera/plan/status.hpp>
//
#include <tessera/io/convert.hpp>
#include <tessera/io/convert_options.hpp>
#include <tessera/io/converted_checkpoint.hpp>
#include <tessera/io/layer_config.hpp>
#include <tessera/io/load.hpp>
#include <tessera/io/npy.hpp>
#include <tessera/io/pcd.hpp>
#include <tessera/io/ply.hpp>
#include <tessera/io/point_bin.hpp>
#include <tessera/io/point_cloud_file.hpp>
#include <tessera/io/point_format.hpp>
#include <tessera/io/safetensors.hpp>
#include <tessera/io/semantic_kitti.hpp>
#include <tessera/io/spvnas_config.hpp>
#include <tessera/io/state_dict.hpp>
#include <tessera/io/torch_checkpoint.hpp>
#include <tessera/io/trace_file.hpp>
#include <tessera/io/training_checkpoint.hpp>
#include <tessera/io/tuning_file.hpp>

#ifdef TESSERA_COMPILED
#include <tessera/compiled.hpp>
#endif
