// SPDX-License-Identifier: MIT
// Copyright (c) the Tessera authors
#pragma once

#include "../support/command_line.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace label_scans {

using program::parse_number;
using program::UsageError;

/// The part of the scans that one process does: of the sorted list, every count-th from index on.
struct Shard {
  std::int64_t index = 0;
  std::int64_t count = 1;
  std::string source;  // who said so; empty: nobody

  [[nodiscard]] bool has(std::int64_t scan) const { return scan % count == index; }
  [[nodiscard]] std::string name() const { return std::to_string(index) + "/" + std::to_string(count); }
};

/// getenv(), or what stands for it in a test.
using Environment = std::function<char const*(char const*)>;

inline constexpr std::int64_t most_shards = 1000000000;

/// Variables by which a launcher tells its processes their rank and number.
struct Launcher {
  char const* rank;
  char const* size;
};

/// The value of a variable; nothing where it is not set or empty.
/// @throws UsageError  it is no whole number
[[nodiscard]] inline std::optional<std::int64_t> number_in(Environment const& get, char const* name)
{
  char const* const text = get(name);
  if (text == nullptr || *text == 0) { return std::nullopt; }
  return parse_number<std::int64_t>(name, text, 0, most_shards);
}

/// What the variables of a launcher say; nothing where they are not set.
/// @throws UsageError  only one of them is set, or they are no rank and size
[[nodiscard]] inline std::optional<Shard> shard_of_launcher(Environment const& get, Launcher const& launcher)
{
  auto const rank = number_in(get, launcher.rank);
  auto const size = number_in(get, launcher.size);
  if (!rank && !size) { return std::nullopt; }
  if (!rank || !size) {
    throw UsageError{std::string{rank ? launcher.rank : launcher.size} + " is set, but not " +
                     (rank ? launcher.size : launcher.rank) + "; set both, or give --shard"};
  }
  if (*rank >= *size) {
    throw UsageError{std::string{launcher.rank} + " is " + std::to_string(*rank) + ", but " + launcher.size +
                     " is " + std::to_string(*size) + "; ranks are 0 to size - 1"};
  }
  return Shard{*rank, *size, launcher.rank};
}

/// The task of a Slurm job array: its numbers begin at MIN and are STEP apart.
/// @throws UsageError  the variables do not fit together
[[nodiscard]] inline std::optional<Shard> shard_of_array(Environment const& get)
{
  auto const task = number_in(get, "SLURM_ARRAY_TASK_ID");
  if (!task) { return std::nullopt; }
  auto const count = number_in(get, "SLURM_ARRAY_TASK_COUNT");
  if (!count) {
    throw UsageError{"SLURM_ARRAY_TASK_ID is set, but not SLURM_ARRAY_TASK_COUNT; set both, or give --shard"};
  }
  auto const first = number_in(get, "SLURM_ARRAY_TASK_MIN").value_or(0);
  auto const step = number_in(get, "SLURM_ARRAY_TASK_STEP").value_or(1);
  auto const from_first = *task - first;
  bool const whole = step > 0 && from_first >= 0 && from_first % step == 0;
  if (!whole || from_first / step >= *count) {
    throw UsageError{"SLURM_ARRAY_TASK_ID is " + std::to_string(*task) + ", which is none of " +
                     std::to_string(*count) + " tasks from SLURM_ARRAY_TASK_MIN " + std::to_string(first) +
                     " on, " + std::to_string(step) + " apart; number them without gaps, or give --shard"};
  }
  return Shard{from_first / step, *count, "SLURM_ARRAY_TASK_ID"};
}

/// The rank among the processes of one launch: mpirun's, MPICH's or torchrun's, which may themselves be
/// started by srun, else srun's.
/// @throws UsageError  two of them that do not agree
[[nodiscard]] inline std::optional<Shard> shard_of_rank(Environment const& get)
{
  constexpr Launcher launchers[] = {
      {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}, {"PMI_RANK", "PMI_SIZE"}, {"RANK", "WORLD_SIZE"}};
  std::optional<Shard> found;
  for (auto const& launcher : launchers) {
    auto const shard = shard_of_launcher(get, launcher);
    if (!shard) { continue; }
    if (found && (found->index != shard->index || found->count != shard->count)) {
      throw UsageError{found->source + " says process " + found->name() + ", but " + shard->source +
                       " says " + shard->name() + "; unset one of them, or give --shard"};
    }
    if (!found) { found = shard; }
  }
  if (found) { return found; }
  // A batch script that srun did not start is rank 0 of the tasks that the job asked for; a step has its own.
  bool const has_step_size = number_in(get, "SLURM_STEP_NUM_TASKS").has_value();
  if (!number_in(get, "SLURM_PROCID")) { return std::nullopt; }  // SLURM_NTASKS alone: no process of srun's
  return shard_of_launcher(get, {"SLURM_PROCID", has_step_size ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS"});
}

/// The shard that `--shard i/n` names, else the one that the environment tells; else all scans. Ranks in each
/// task of a job array are shards of the task's shard.
/// @throws UsageError  what is told makes no sense
[[nodiscard]] inline Shard shard_of(std::optional<std::string> const& option, Environment const& get)
{
  if (option) {
    auto const slash = option->find('/');
    if (slash == std::string::npos) {
      throw UsageError{"--shard: '" + *option + "' is not i/n, such as 0/4"};
    }
    auto const count =
        parse_number<std::int64_t>("--shard", std::string_view{*option}.substr(slash + 1), 1, most_shards);
    auto const index =
        parse_number<std::int64_t>("--shard", std::string_view{*option}.substr(0, slash), 0, count - 1);
    return {index, count, "--shard"};
  }
  auto const array = shard_of_array(get);
  auto const rank = shard_of_rank(get);
  if (!array || !rank) { return array ? *array : rank.value_or(Shard{}); }
  return {array->index * rank->count + rank->index, array->count * rank->count,
          array->source + " and " + rank->source};
}

/// The number of this process among those of its machine, by which it picks its GPU; nothing if nobody says.
[[nodiscard]] inline std::optional<std::int64_t> local_rank(Environment const& get)
{
  for (char const* const name :
       {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "LOCAL_RANK", "SLURM_LOCALID"}) {
    if (auto const rank = number_in(get, name)) { return rank; }
  }
  return std::nullopt;
}

}  // namespace label_scans
