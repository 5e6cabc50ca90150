#!/bin/bash
# A study on several nodes of a SLURM cluster, a process a GPU:
#
#   sbatch --nodes=4 launch/slurm.sh linearity --flagfile=experiments/flagfiles/linearity_paper.flags
#
# Submitted again, also with another number of nodes, it goes on from what was measured. The folder
# of --output is to lie on a disk that all nodes share.
#SBATCH --job-name=negjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00

set -eu
study=$1
shift
# JAX reads address, numbers and each process's GPU from SLURM's environment.
srun --kill-on-bad-exit=1 python -m "experiments.$study" --coordinator=auto --join_seconds=300 "$@"
