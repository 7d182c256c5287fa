#!/bin/bash
#SBATCH --job-name=temporal
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#
# One allocation, one command: Ray over its nodes for answers and verdicts, DeepSpeed over the same nodes for training.
# Killed or out of time, `sbatch` of the same script goes on where it stopped.
#     sbatch recipes/cluster/slurm.sh --run night --set prompts.source=prompts.jsonl
# Needs: this folder, its .venv and the store on a file system that all nodes share; ssh or pdsh between them.
set -euo pipefail

nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
port=6379
hostfile=runs/hostfile.$SLURM_JOB_ID
mkdir -p runs
printf "%s slots=${SLURM_GPUS_ON_NODE:-8}\n" "${nodes[@]}" > "$hostfile"

export RAY_USAGE_STATS_ENABLED=0 RAY_ADDRESS=$head:$port
start() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$1" .venv/bin/ray start --block "${@:2}" & }
start "$head" --head --port="$port" --include-dashboard=false
sleep 20
for node in "${nodes[@]:1}"; do start "$node" --address="$RAY_ADDRESS"; done

.venv/bin/python -m toolkit.recipes.temporal --config recipes/cluster/nodes.toml --trust \
    --set trainer.hostfile="$hostfile" --set engine.cluster.workers=$((${SLURM_GPUS_ON_NODE:-8} * ${#nodes[@]})) "$@"
