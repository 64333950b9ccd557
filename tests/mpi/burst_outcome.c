#include "tests/mpi/burst_outcome.h"

#include <string.h>

#include "core/file.h"
#include "tests/mpi/count_allocations.h"

/* What the ranks leave of a request, its tokens behind it. */
struct served {
    int64_t prompt_len, output_len;
    uint64_t seed;
    int64_t n_tokens; /* 0 = it was refused */
};

void outcome_count(
        struct outcome *o, const struct requests *offered, const struct runtime_result *result)
{
    for (int64_t i = 0; i < offered->n; i++) {
        const struct run_request *r = &result->records[i];
        bool whole = r->finish_ns >= 0 && result->n_tokens[i] == offered->items[i].output_len;
        bool nothing = r->finish_ns < 0 && r->first_token_ns < 0;

        if (r->outcome == REQUEST_FINISHED && whole)
            o->finished++;
        else if ((r->outcome == REQUEST_REFUSED_FULL || r->outcome == REQUEST_REFUSED_LATE)
                 && nothing)
            o->refused++;
        else
            o->lost++;
    }
}

bool outcome_write(FILE *file, const struct outcome *o, const struct requests *offered,
        const struct runtime_result *result)
{
    bool ok = file && fwrite(o, sizeof *o, 1, file) == 1;

    for (int64_t i = 0; ok && i < offered->n; i++) {
        const struct request *r = &offered->items[i];
        bool finished = result->records[i].outcome == REQUEST_FINISHED;
        struct served served = {
                r->prompt_len, r->output_len, r->seed, finished ? result->n_tokens[i] : 0};
        size_t n = (size_t)served.n_tokens;

        ok = fwrite(&served, sizeof served, 1, file) == 1
             && fwrite(result->tokens[i], sizeof(int32_t), n, file) == n;
    }
    return file && fclose(file) == 0 && ok;
}

bool outcome_read(struct outcome *o, struct requests *accepted, int32_t ***answers, FILE *file,
        struct arena *arena)
{
    bool ok = file && fread(o, sizeof *o, 1, file) == 1;

    accepted->items = ARENA_NEW(arena, struct request, ok ? o->offered : 0);
    *answers = ARENA_NEW(arena, int32_t *, ok ? o->offered : 0);
    for (int64_t i = 0; ok && i < o->offered; i++) {
        struct served r;

        ok = fread(&r, sizeof r, 1, file) == 1;
        if (!ok || r.n_tokens == 0)
            continue;
        accepted->items[accepted->n] = (struct request){
                .prompt_len = r.prompt_len, .output_len = r.output_len, .seed = r.seed};
        (*answers)[accepted->n] = ARENA_NEW(arena, int32_t, r.n_tokens);
        ok = fread((*answers)[accepted->n++], sizeof(int32_t), (size_t)r.n_tokens, file)
             == (size_t)r.n_tokens;
    }
    if (file)
        fclose(file);
    return ok;
}

bool outcome_judge(const struct outcome *o)
{
    const double flat = 2 << 20;
    bool ok = o->lost == 0 && o->finished + o->refused == o->offered && o->finished > 0
              && o->refused > 0 && o->wrong == 0 && o->checked == o->finished && o->allocations == 0
              && o->growth_bytes <= flat;

    printf("offered   %lld requests, %.1f a second; without hurry %.1f a second are served\n"
           "finished  %lld, refused %lld, lost or answered twice %lld\n"
           "checked   %lld of the finished, %lld with other tokens than by one rank\n"
           "memory    %+.2f MiB while serving, %+.1f KiB a minute in the second half\n",
            (long long)o->offered, o->offered_s, o->capacity, (long long)o->finished,
            (long long)o->refused, (long long)o->lost, (long long)o->checked, (long long)o->wrong,
            o->growth_bytes / (1 << 20), o->slope * 60 / 1024);
    if (count_allocations_built())
        printf("allocated %lld times while serving\n", (long long)o->allocations);
    else
        printf("allocated was not counted in this build\n");
    printf("%s\n", ok ? "ok" : "FAILED");
    return ok;
}

bool outcome_write_json(const char *path, const struct outcome *o)
{
    struct err err = {0};
    struct arena arena = {0};
    const char *text = arena_printf(&arena,
            "{\"capacity_requests_per_s\": %.6g, \"offered_requests_per_s\": %.6g, \"offered\": "
            "%lld, \"finished\": %lld, \"refused\": %lld, \"lost\": %lld, \"checked\": %lld, "
            "\"wrong\": %lld, \"memory_growth\": %.0f, \"memory_slope\": %.6g, \"allocations\": "
            "%lld}\n",
            o->capacity, o->offered_s, (long long)o->offered, (long long)o->finished,
            (long long)o->refused, (long long)o->lost, (long long)o->checked, (long long)o->wrong,
            o->growth_bytes, o->slope, (long long)o->allocations);
    bool ok = file_write(path, text, (int64_t)strlen(text), &err);

    if (!ok)
        fprintf(stderr, "burst: %s\n", err.text);
    arena_free(&arena);
    return ok;
}
