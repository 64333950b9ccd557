#!/bin/sh
# Builds what tests/gpu/run.sh needs into build/gpu-pack, with the shared libraries it uses, so that it runs on a machine
# with a GPU where the program's own dependencies are not installed.
# usage: tests/gpu/pack.sh [option of cmake...]     e.g. -DCMAKE_PREFIX_PATH="/opt/cublas;/opt/nccl"
# For compute capability 9.0; -DCMAKE_CUDA_ARCHITECTURES=... for another.
set -eu
cd "$(dirname "$0")/../.."
build=build/gpu-release pack=build/gpu-pack
cmake --preset release -B $build -DSHARDWRIGHT_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=90-real "$@" >/dev/null
grep -q gemm_lt $build/build.ninja ||
    echo "cublasLt.h was not found: large products will be computed by kernels of the module, which are slower" >&2
cmake --build $build --target shardwright gpu_ops bench_gpu compare_logits shardwright-cuda
rm -rf $pack
mkdir -p $pack/lib
cp $build/shardwright $build/shardwright-cuda.so $build/tests/gpu/gpu_ops $build/tests/bench/bench_gpu \
    $build/tests/reference/compare_logits $pack/
strip --strip-debug $pack/shardwright $pack/gpu_ops $pack/bench_gpu $pack/compare_logits
cp -R models $pack/
# The C library comes with the machine: an older one's programs run with it.
ldd $pack/shardwright $pack/bench_gpu | awk '$3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' |
    while read -r library; do cp -L "$library" $pack/lib/; done
du -sh $pack
