/*
 * engine - one forward step of this rank's layers: exactly the ops that graph_step lists, in its order,
 * each through op_table or coll and each metered.
 *
 * A step allocates nothing. Rows are those of this rank's attention-dp group, items in the order of the
 * batch. Between stages rows travel in WORK_X, as the residual stream with everything added.
 */
#ifndef RUNTIME_ENGINE_H
#define RUNTIME_ENGINE_H

#include "core/spec/workload.h"
#include "runtime/batch.h"
#include "runtime/kvcache.h"
#include "runtime/load.h"
#include "runtime/meter.h"
#include "runtime/sample.h"

/* What this rank computes of the batch at hand. */
struct engine_step {
    const struct batch_item *items; /* of this group */
    int n_items, n_decode, n_logits;
    int64_t rows, group_rows; /* of this group; of all groups */
    int64_t decode_kv_tokens, prefill_rows;
};

/* Where the rows of each expert may go: slot[first[e]] to slot[first[e + 1] - 1], counted over all ep groups. */
struct expert_slots {
    int32_t *first, *slot;
};

struct engine {
    const struct place *place;
    const struct model *model;
    const struct workload *workload;
    struct dev *dev;
    struct meter *meter;
    struct rank_weights weights;
    struct kvcache cache;
    void *work[WORK_COUNT];
    int64_t work_bytes;
    struct attention_seq
            *seqs;      /* one per item, decodes first; rows are in the order of the batch */
    int32_t *last_rows; /* those that yield tokens */
    int32_t *inputs;    /* what a step is prepared in: WORK_INPUTS, or what is sent there */
    const struct attention_seq *op_seqs; /* seqs and last_rows as ops see them */
    const int32_t *op_last_rows;
    struct engine_gpu *gpu; /* NULL where work is memory of the host */
    bool timed; /* every op is metered; on a GPU only for traces, where it has to be waited for */
    int32_t *blocks;            /* block tables, where several pools share this group's cache */
    int64_t *pool_row;          /* [group_pools + 1] where the rows of each pool begin */
    int64_t *moe_bytes;         /* bytes sent and received per rank, in turn */
    struct expert_slots *slots; /* by layer of the piece; NULL without an expert map */
    struct sampler *sampler;    /* NULL = greedy */
    struct sample_row *rows;    /* what is drawn from */
    struct engine_step step;
    bool keep_logits; /* WORK_LOGITS of all ranks are brought together in every step */
};

struct engine_options {
    const struct model *model;
    const struct workload *workload;
    const struct weights *weights;
    struct dev *dev;
    struct meter *meter;
    bool keep_logits;
    bool trace; /* the time of every op is wanted, whatever it costs */
};

/* Allocates and loads. The memory belongs to the device and the arena. */
MUST_CHECK bool engine_open(struct engine *engine, const struct place *place,
        const struct engine_options *options, struct arena *arena, struct err *err);
void engine_close(struct engine *engine);

/* Takes in a batch: what this rank will do of it. */
void engine_prepare(struct engine *engine, const struct batch *batch);
/* Computes it. Stages behind the first find their rows in WORK_X. */
void engine_run(struct engine *engine);
/* Last stage: the tokens of the rows that yield one, in order of items. Waits for a GPU. */
const int32_t *engine_tokens(struct engine *engine);
/* Last stage, with keep_logits: row `i` of what was sampled from, [vocab]; rows of parts side by side are put
 * together in out. */
void engine_logits(struct engine *engine, int i, float *out);
/* Other stages: puts the rows to send into out, [rows, hidden] of the host. */
void engine_output(struct engine *engine, float *out);
/* Where rows from the stage before arrive, memory of the host; engine_arrived when `rows` from `row` on are there. */
float *engine_arrivals(struct engine *engine, int64_t row);
void engine_arrived(struct engine *engine, int64_t row, int64_t rows);

/* For the parts of the engine: runs an op, meters it. Nothing when dim[0] is 0. */
struct op engine_op(const struct engine *engine, enum op_kind kind, enum dtype dtype);
void engine_do(struct engine *engine, const struct op *op, const struct op_args *args);
/* `op` has been done since what was metered last. */
void engine_meter(struct engine *engine, const struct op *op);
/* x += residual unless that is NULL; out = normed. */
void engine_norm(struct engine *engine, int64_t rows, void *x, const void *residual,
        const void *gain, void *out);
void engine_all_reduce(struct engine *engine, struct coll *coll, float *data, int64_t count);
/* y of the step's rows. */
void engine_gemm(struct engine *engine, int64_t n, int64_t k, const struct gemm_args *gemm);
/* Layer `at` of the piece: reads WORK_H, leaves the heads' values in WORK_ATTENTION. */
void engine_mla(struct engine *engine, int at, const struct layer_weights *layer);
/* An MLP of `inter` columns over all ranks of the tensor group: reads WORK_H, leaves this rank's part of the sum
 * in WORK_R. */
void engine_mlp(struct engine *engine, const struct layer_weights *layer, int64_t inter);
/* The experts of a layer: reads WORK_H, leaves the layer's output in WORK_R. */
void engine_moe(struct engine *engine, const struct layer_weights *layer);
/* Final norm, head and sampling. */
void engine_head(struct engine *engine);

#endif
