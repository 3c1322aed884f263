#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright (c) the Tessera authors
#
#SBATCH --job-name=label_scans
#SBATCH --array=0-31
#SBATCH --ntasks=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --output=label_scans-%A_%a.log
#
# A Slurm job array, each task of which labels its part of the scans on a GPU of its own:
#
#   sbatch --array=0-99 examples/label_scans/slurm.sh build/bin/label_scans SOURCE --output FOLDER [options]
#
# Two minutes before its time ends, or where it is preempted, a task is told to: the program then finishes the scans in
# hand, and the task is queued again for the rest. Submitting the same job again does what is missing.
set -u

worker="" terminated="" told=""
trap 'terminated=yes told=yes; [ -z "$worker" ] || kill -TERM "$worker" 2>/dev/null' TERM
"$@" &
worker=$!
[ -z "$terminated" ] || kill -TERM "$worker" 2>/dev/null # told so before there was a worker
while # a wait that the signal ends has another status than the worker
  told=""
  wait "$worker"
  status=$?
  [ -n "$told" ]
do :; done
if [ -n "$terminated" ] && [ "$status" -eq 143 ]; then
  scontrol requeue "${SLURM_ARRAY_JOB_ID:?}_${SLURM_ARRAY_TASK_ID:?}"
fi
exit "$status"
