/*
 * The CUDA runtime's names for AMD's HIP, as far as kernels/cuda uses them: with this folder in front of the include
 * path, hipcc compiles the same sources (kernels/cuda/hip/build.sh). It stands for <cuda_runtime_api.h>. Compiled, never
 * run: docs/decisions/0015-amd.md.
 */
#ifndef KERNELS_CUDA_HIP_CUDA_RUNTIME_API_H
#define KERNELS_CUDA_HIP_CUDA_RUNTIME_API_H

#include <hip/hip_runtime_api.h>

/* clang-format off */
#define cudaError_t                                 hipError_t
#define cudaSuccess                                 hipSuccess
#define cudaErrorNoDevice                           hipErrorNoDevice
#define cudaErrorNotReady                           hipErrorNotReady
#define cudaStream_t                                hipStream_t
#define cudaEvent_t                                 hipEvent_t
#define cudaGraph_t                                 hipGraph_t
#define cudaGraphExec_t                             hipGraphExec_t
#define cudaDeviceProp                              hipDeviceProp_t
#define cudaMemcpyKind                              hipMemcpyKind
#define cudaMemcpyHostToDevice                      hipMemcpyHostToDevice
#define cudaMemcpyDeviceToHost                      hipMemcpyDeviceToHost
#define cudaMemcpyDeviceToDevice                    hipMemcpyDeviceToDevice
#define cudaStreamNonBlocking                       hipStreamNonBlocking
#define cudaStreamCaptureModeRelaxed                hipStreamCaptureModeRelaxed
#define cudaFuncAttributeMaxDynamicSharedMemorySize hipFuncAttributeMaxDynamicSharedMemorySize
#define cudaGetDeviceCount                          hipGetDeviceCount
#define cudaGetDeviceProperties                     hipGetDeviceProperties
#define cudaDriverGetVersion                        hipDriverGetVersion
#define cudaSetDevice                               hipSetDevice
#define cudaMalloc                                  hipMalloc
#define cudaFree                                    hipFree
#define cudaMallocHost(out, bytes)                  hipHostMalloc(out, bytes, hipHostMallocDefault)
#define cudaFreeHost                                hipHostFree
#define cudaMemGetInfo                              hipMemGetInfo
#define cudaMemsetAsync                             hipMemsetAsync
#define cudaMemcpyAsync                             hipMemcpyAsync
#define cudaStreamCreateWithFlags                   hipStreamCreateWithFlags
#define cudaStreamDestroy                           hipStreamDestroy
#define cudaStreamSynchronize                       hipStreamSynchronize
#define cudaStreamQuery                             hipStreamQuery
#define cudaEventCreate                             hipEventCreate
#define cudaEventDestroy                            hipEventDestroy
#define cudaEventRecord                             hipEventRecord
#define cudaEventSynchronize                        hipEventSynchronize
#define cudaEventElapsedTime                        hipEventElapsedTime
#define cudaStreamBeginCapture                      hipStreamBeginCapture
#define cudaStreamEndCapture                        hipStreamEndCapture
#define cudaGraphInstantiate(out, graph, flags)     hipGraphInstantiateWithFlags(out, graph, flags)
#define cudaGraphLaunch                             hipGraphLaunch
#define cudaGraphDestroy                            hipGraphDestroy
#define cudaGraphExecDestroy                        hipGraphExecDestroy
#define cudaGetLastError                            hipGetLastError
#define cudaGetErrorString                          hipGetErrorString
#define cudaFuncSetAttribute                        hipFuncSetAttribute
/* clang-format on */

#endif
