#!/bin/sh
# The GPU module for AMD: the sources of kernels/cuda compiled by hipcc. Put the result beside the program, or name it in
# SHARDWRIGHT_CUDA_MODULE; messages of ranks then go through RCCL (SHARDWRIGHT_NCCL_LIBRARY=librccl.so.1). It has never
# been run: docs/decisions/0015-amd.md.
# usage: kernels/cuda/hip/build.sh OUT.so [offload architecture...]      default: gfx90a
set -eu
cd "$(dirname "$0")/../../.."
out=$1
shift
[ $# -gt 0 ] || set -- gfx90a
hipcc=${HIPCC:-hipcc}
command -v "$hipcc" >/dev/null || { echo "no hipcc here: apt install hipcc" >&2; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
targets=''
for arch in "$@"; do targets="$targets --offload-arch=$arch"; done
# The runtime's functions are marked to be checked; NVIDIA's are not, and failures show at hipGetLastError.
options="-D__HIP_PLATFORM_AMD__ -Ikernels/cuda/hip -I. -O3 -fPIC -ffp-contract=off -Wall -Wextra -Wno-unused-result"
for source in kernels/cuda/*.cu; do
    # shellcheck disable=SC2086
    "$hipcc" -x hip -std=c++17 $targets $options -Wno-cuda-compat -c "$source" \
        -o "$dir/$(basename "$source").o"
done
for source in context module gemm_none; do
    # shellcheck disable=SC2086
    "$hipcc" -x c -std=c17 -D_POSIX_C_SOURCE=200809L $options -c kernels/cuda/$source.c -o "$dir/$source.o"
done
# shellcheck disable=SC2086
"$hipcc" -shared $targets "$dir"/*.o -o "$out"
