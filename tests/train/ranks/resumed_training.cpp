// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors

//   mpirun -n 2 resumed_training <checkpoint> <last step> [<step in which rank 1 is killed>]
//
// Trains from the checkpoint, where there is one, to the last step, and saves it after every second step.
#define DOCTEST_CONFIG_DISABLE  // no cases: what is shared with them names it
#include "../parallel_cases.hpp"

#include <tessera/data/loader.hpp>
#include <tessera/io/training_checkpoint.hpp>
#include <tessera/train/mpi_communicator.hpp>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

using namespace tessera;

int main(int argc, char** argv)
{
  return train::run_with_mpi(argc, argv, [&] {
    detail::expects(argc >= 3, "resumed_training <checkpoint> <last step> [<step of death>]");
    std::string const path = argv[1];
    int const last = std::atoi(argv[2]);
    int const death = argc > 3 ? std::atoi(argv[3]) : -1;
    auto const ranks = train::mpi_communicator();
    Execution<Host> const exec{1};
    test::ParallelNetwork<float, Host> network{exec};
    network.train();
    train::ParameterArena<float, Host> arena{network, exec};
    train::Optimizer<train::AdamW, float, Host> optimizer{arena, train::AdamW{},
                                                          train::Schedule::cosine(0.01, 20).warm_up(3), exec};
    io::TrainingState training{network, optimizer};
    DataLoader<SampleIndex> loader{ScanOrder(7).shuffle().shard(ranks.rank(), ranks.size()),
                                   {2, 4, -1},
                                   [](SampleIndex const& at) { return at; }};
    if (std::filesystem::exists(path)) {
      io::resume_training(path, training, exec);
      loader.seek({static_cast<std::uint64_t>(training.numbers["seed"]), training.numbers["position"]});
      if (ranks.rank() == 0) {
        std::printf("resumes at step %d\n", static_cast<int>(training.numbers["step"]));
      }
    }
    Tape<Host> tape;
    tape.watch(network);
    train::DataParallel<float, Host> parallel{ranks, network, arena, tape, exec};
    for (auto step = static_cast<int>(training.numbers["step"]); step < last; ++step) {
      if (step == death && ranks.rank() == 1) { std::raise(SIGKILL); }
      auto const scan = static_cast<int>(loader.next()->index);
      test::Scans const scans{scan, scan + 1};
      auto const coordinates = upload_matrix(scans.coordinates, 4, exec);
      auto const features = upload_matrix(test::cast_to<float>(scans.features), 3, exec);
      auto const labels = upload(scans.labels, exec);
      SparseTensor<3, float, Host> const x{coordinates.view(), features.view(), exec};
      optimizer.zero_grad(exec);
      auto const y = network.forward(x, exec.with_recorder(tape));
      CrossEntropyOptions<float> options;
      auto weight = loss_weight(y, labels, options, exec);
      ranks.all_reduce_sum(weight.data(), 1, exec);
      parallel.backward(cross_entropy(y, labels, options.normalizer(weight.data()), exec.with_recorder(tape)),
                        exec);
      optimizer.step(exec);
      if (ranks.rank() == 0 && step % 2 == 1) {
        training.numbers["step"] = step + 1;
        training.numbers["seed"] = static_cast<std::int64_t>(loader.state().seed);
        training.numbers["position"] = loader.state().position;
        io::save_training(path, training, exec);
      }
    }
    return 0;
  });
}
