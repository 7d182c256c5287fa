#!/bin/bash
# The whole recipe as a job of a running Ray cluster; the driver runs on its head node and writes the store there.
#     RAY_ADDRESS=http://head:8265 recipes/cluster/ray_job.sh --run night --set prompts.source=prompts.jsonl
# Needs: this folder at TOOLKIT_HOME on every node (a shared file system), with its .venv; a cluster with its dashboard,
# which takes jobs. Nothing is uploaded. The cluster is found by RAY_ADDRESS, which Ray sets for a job.
set -euo pipefail

home=${TOOLKIT_HOME:-$PWD}
.venv/bin/ray job submit --submission-id "temporal-$(date +%Y%m%d-%H%M%S)" -- \
    env --chdir="$home" .venv/bin/python -m toolkit.recipes.temporal --config recipes/cluster/nodes.toml --trust "$@"
