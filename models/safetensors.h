/*
 * safetensors - the header of a checkpoint file: 8 bytes of length, JSON, then tensor data.
 *
 * Takes bytes and a display name and judges everything that the header says; the caller opens files.
 * Format: https://huggingface.co/docs/safetensors (metadata parsing).
 */
#ifndef MODELS_SAFETENSORS_H
#define MODELS_SAFETENSORS_H

#include "core/arena.h"
#include "core/spec/op.h"

struct safetensors_entry {
    const char *name;
    enum dtype dtype;
    int n_dims;
    int64_t dim[4];
    int64_t begin, end; /* bytes, from the start of the file */
};

/* bytes holds at least the header of a file of file_bytes. Entries ascend by begin: they follow each other
 * without gap or overlap up to the end of the file. Names are in the arena. */
MUST_CHECK bool safetensors_read(struct safetensors_entry **out, int64_t *n, const void *bytes,
        int64_t file_bytes, const char *path, struct arena *arena, struct err *err);
/* How a dtype is called in the header: "F32". */
const char *safetensors_dtype(enum dtype dtype);
int64_t safetensors_elements(const int64_t *dim, int n_dims);

#endif
