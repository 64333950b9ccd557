/*
 * engine_gpu - what an engine has beside its buffers when those are a GPU's: the batch as the GPU sees it, steps that
 * are replayed as graphs, exchanges between GPUs. Private to the engine.
 *
 * A decode step of a shape is run op by op once, recorded the second time, and replayed from then on; shapes are
 * sequences, sampled rows and the power of two above the mean length. Steps with prompts, with an exchange through
 * the host, or of a run that is traced are run op by op.
 *
 * Sums over a tensor group go over NCCL where its library is, and else through host memory and the group's own
 * exchange.
 */
#ifndef RUNTIME_ENGINE_GPU_H
#define RUNTIME_ENGINE_GPU_H

#include "runtime/engine.h"

struct engine_gpu;

MUST_CHECK bool engine_gpu_open(struct engine *engine, struct arena *arena, struct err *err);
void engine_gpu_close(struct engine *engine);
/* The prepared step goes to the GPU. */
void engine_gpu_send(struct engine *engine);
/* Runs `step` or replays what it did before in a step like this one. */
void engine_gpu_run(struct engine *engine, void (*step)(struct engine *engine));
/* Sum over a group; data is the GPU's. */
void engine_gpu_all_reduce(struct engine *engine, struct coll *coll, float *data, int64_t count);
/* Every member's bytes into WORK_GATHER, in order of ranks. */
void engine_gpu_all_gather(struct engine *engine, struct coll *coll, const void *in, int64_t bytes);
/* Host memory for [rows, hidden] of a step. */
float *engine_gpu_arrivals(struct engine *engine);
/* Host copy of a work buffer's first bytes; valid until the next one of the same buffer. */
void *engine_gpu_fetch(struct engine *engine, int buffer, int64_t bytes);

#endif
