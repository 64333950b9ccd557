/*
 * burst_outcome - what became of the requests of a burst: counted, handed from the ranks that served them to the
 * process that checks them, judged, written.
 */
#ifndef TESTS_MPI_BURST_OUTCOME_H
#define TESTS_MPI_BURST_OUTCOME_H

#include <stdio.h>

#include "core/spec/workload.h"
#include "runtime/runtime.h"

struct outcome {
    double capacity, offered_s, growth_bytes, slope; /* of the rank where memory grew most */
    int64_t offered, finished, refused, lost, checked, wrong, allocations;
};

void outcome_count(
        struct outcome *o, const struct requests *offered, const struct runtime_result *result);
/* Both close the file; NULL = it could not be opened. */
bool outcome_write(FILE *file, const struct outcome *o, const struct requests *offered,
        const struct runtime_result *result);
/* accepted: what was served, to be asked for again; answers: by request of accepted. */
bool outcome_read(struct outcome *o, struct requests *accepted, int32_t ***answers, FILE *file,
        struct arena *arena);
/* Prints it; true when all is as it must be. */
bool outcome_judge(const struct outcome *o);
bool outcome_write_json(const char *path, const struct outcome *o);

#endif
