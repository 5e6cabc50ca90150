#!/bin/bash
# A study on TPU slices of a Kubernetes cluster that xpk manages (queued by Kueue):
#
#   CLUSTER=my-cluster ZONE=us-east5-a IMAGE=REGISTRY/negjax launch/xpk.sh linearity \
#     --flagfile=experiments/flagfiles/linearity_paper.flags --output=/mnt/shared/linearity
#
# The image holds this repository, installed, as its working folder; /mnt/shared is storage that was
# made known to the cluster by `xpk storage attach`.

set -eu
study=$1
shift
xpk workload create --cluster="$CLUSTER" --zone="$ZONE" --workload="negjax-${study//_/-}" \
  --tpu-type=v5litepod-64 --docker-image="$IMAGE" \
  --command="python -m experiments.$study --coordinator=auto --join_seconds=300 $*"
