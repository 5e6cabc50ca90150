#!/bin/bash
# A study on a slice of a TPU pod, a process a host, on one chip of each:
#
#   TPU=my-slice ZONE=us-east5-a launch/tpu_pod.sh linearity \
#     --flagfile=experiments/flagfiles/linearity_paper.flags --output=gs://my-bucket/linearity
#
# Before, once: the slice, and negjax in the home folder of each of its hosts. The bucket is one that
# the hosts' service account may read and write.
#
#   gcloud compute tpus tpu-vm create my-slice --zone=us-east5-a \
#     --accelerator-type=v5litepod-64 --version=v2-alpha-tpuv5-lite
#   gcloud compute tpus tpu-vm scp --recurse . my-slice:negjax --worker=all --zone=us-east5-a
#   gcloud compute tpus tpu-vm ssh my-slice --worker=all --zone=us-east5-a \
#     --command='pip install "jax[tpu]" ./negjax'

set -eu
study=$1
shift
# JAX reads address and numbers from the hosts' metadata.
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
  cd negjax && python3 -m experiments.$study --coordinator=auto --join_seconds=300 $*"
