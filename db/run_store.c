#include "db/run_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/clock.h"
#include "db/profile_store.h"
#include "db/sql_store.h"

static const char *const scope_names[] = {"run", "replica", "stage", "rank", "op", NULL};

static char *digest_of(const void *data, size_t bytes, struct arena *arena)
{
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    return arena_printf(arena, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
}

bool run_store_plan(int64_t *id, struct db *db, const struct plan *plan, struct err *err)
{
    struct arena arena = {0};
    char *yaml;

    bool ok = conf_write(&yaml, plan, &plan_table, &arena, err) && sql_begin(db, err);
    if (ok) {
        const char *digest = digest_of(yaml, strlen(yaml), &arena);
        ok = sql_find(id, db, "plan", "WHERE digest=?1", VALUES(V_TEXT(digest)), err);
        if (ok && *id == 0)
            ok = sql_insert(id, db, "plan",
                    VALUES(V_TEXT(digest), V_TEXT(plan->name), V_TEXT(plan->model),
                            V_TEXT(plan_show(plan, &arena)),
                            V_REAL(plan->predicted.output_tokens_per_s), V_TEXT(yaml)),
                    err);
        ok = sql_finish(db, ok, err);
    }
    arena_free(&arena);
    return ok;
}

/* Unlike any other run of any machine: what was run, when to the nanosecond, and by which process. */
static const char *make_uid(int64_t plan, int64_t provenance, struct arena *arena)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    const char *text = arena_printf(arena, "%s %ld %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64,
            host, (long)getpid(), clock_wall_s(), clock_now_ns(), plan, provenance);
    return digest_of(text, strlen(text), arena);
}

bool run_store_begin(int64_t *run, struct db *db, int64_t plan, int64_t provenance,
        const char *model, const char *workload, struct err *err)
{
    struct arena arena = {0};
    const struct value none = {.type = VALUE_TEXT};
    bool ok = sql_insert(run, db, "run",
            VALUES(V_TEXT(make_uid(plan, provenance, &arena)), V_INT(plan), V_INT(provenance),
                    V_TEXT(model), V_TEXT(workload), V_INT(clock_wall_s()), V_TEXT("running"), none,
                    none, none, none, none, none, none, none, none, none, none, none, none, none),
            err);
    arena_free(&arena);
    return ok;
}

bool run_store_figure(struct db *db, int64_t run, const struct run_figure *figure, struct err *err)
{
    int64_t id;
    return sql_insert(&id, db, "run_figure",
            VALUES(V_INT(run), V_TEXT(scope_names[figure->scope]), V_INT(figure->index),
                    V_TEXT(figure->name), V_TEXT(figure->unit), V_REAL(figure->predicted),
                    V_REAL(figure->measured), V_REAL(figure->lo), V_REAL(figure->hi)),
            err);
}

bool run_store_request(
        struct db *db, int64_t run, const struct run_request *request, struct err *err)
{
    int64_t id;
    return sql_insert(&id, db, "run_request",
            VALUES(V_INT(run), V_INT(request->request), V_INT(request->replica),
                    V_INT(request->prompt_len), V_INT(request->output_len),
                    V_INT(request->arrival_ns), V_INT(request->first_token_ns),
                    V_INT(request->finish_ns), V_INT(request->preemptions)),
            err);
}

bool run_store_step(struct db *db, int64_t run, const struct run_step *step, struct err *err)
{
    int64_t id;
    return sql_insert(&id, db, "run_step",
            VALUES(V_INT(run), V_INT(step->replica), V_INT(step->stage), V_INT(step->step),
                    V_INT(step->start_ns), V_INT(step->busy_ns), V_INT(step->wait_ns),
                    V_INT(step->tokens), V_INT(step->sequences), V_INT(step->prefill_tokens),
                    V_INT(step->kv_tokens)),
            err);
}

bool run_store_batch_begin(struct db *db, struct err *err)
{
    return sql_begin(db, err);
}

bool run_store_batch_end(struct db *db, bool ok, struct err *err)
{
    return sql_finish(db, ok, err);
}

bool run_store_end(struct db *db, int64_t run, const char *status, const char *bottleneck,
        const struct plan_figures *m, struct err *err)
{
    static const char sql[] =
            "UPDATE run SET status=?2,bottleneck=?3,output_tokens_per_s=?4,total_tokens_per_s=?5,"
            "requests_per_s=?6,ttft_p50_us=?7,ttft_p99_us=?8,tpot_p50_us=?9,tpot_p99_us=?10,"
            "e2e_p50_us=?11,makespan_s=?12,memory_bytes=?13,goodput_requests_per_s=?14,lo_frac=?15,"
            "hi_frac=?16 WHERE id=?1";
    int64_t found;

    if (!sql_begin(db, err))
        return false;
    bool ok = sql_find(&found, db, "run", "WHERE id=?1", VALUES(V_INT(run)), err);
    if (ok && found == 0)
        ok = err_set(err, ERR_BUG, "%s: there is no run %lld to end", db_path(db), (long long)run);
    ok = ok
         && sql_run(db, sql,
                 VALUES(V_INT(run), V_TEXT(status), V_TEXT(bottleneck),
                         V_REAL(m->output_tokens_per_s), V_REAL(m->total_tokens_per_s),
                         V_REAL(m->requests_per_s), V_REAL(m->ttft_p50_us), V_REAL(m->ttft_p99_us),
                         V_REAL(m->tpot_p50_us), V_REAL(m->tpot_p99_us), V_REAL(m->e2e_p50_us),
                         V_REAL(m->makespan_s), V_INT(m->memory_bytes),
                         V_REAL(m->goodput_requests_per_s), V_REAL(m->lo_frac), V_REAL(m->hi_frac)),
                 err)
         && sql_resum(db, "run", run, err);
    return sql_finish(db, ok, err);
}

/* Room for every row of a run in a table. */
static bool count_rows(int64_t *n, struct db *db, const char *table, int64_t run, struct err *err)
{
    char sql[96];
    struct rows rows;

    *n = 0;
    snprintf(sql, sizeof sql, "SELECT count(*) FROM %s WHERE run=?1", table);
    if (!sql_query(&rows, db, sql, VALUES(V_INT(run)), err))
        return false;
    if (sql_next(&rows, err))
        *n = sql_int(&rows, 0);
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool read_figures(struct run_row *out, struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t most;

    if (!count_rows(&most, db, "run_figure", out->id, err)
            || !sql_select(&rows, db, "run_figure",
                    "scope,number,name,unit,predicted,measured,lo,hi", "WHERE run=?1 ORDER BY id",
                    VALUES(V_INT(out->id)), err))
        return false;
    out->figures = ARENA_NEW(arena, struct run_figure, most);
    while (out->n_figures < most && sql_next(&rows, err)) {
        const char *scope = sql_text(&rows, 0, arena);
        int s = 0;
        while (scope_names[s] && strcmp(scope_names[s], scope) != 0)
            s++;
        if (!scope_names[s]) {
            err_set(err, ERR_INPUT,
                    "%s: table run_figure: unknown scope \"%s\": use the shardwright that wrote it",
                    db_path(db), scope);
            break;
        }
        out->figures[out->n_figures++] = (struct run_figure){.scope = (enum figure_scope)s,
                .index = (int)sql_int(&rows, 1),
                .name = sql_text(&rows, 2, arena),
                .unit = sql_text(&rows, 3, arena),
                .predicted = sql_real(&rows, 4),
                .measured = sql_real(&rows, 5),
                .lo = sql_real(&rows, 6),
                .hi = sql_real(&rows, 7)};
    }
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool read_requests(struct run_row *out, struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t most;

    if (!count_rows(&most, db, "run_request", out->id, err)
            || !sql_select(&rows, db, "run_request",
                    "request,replica,prompt_len,output_len,arrival_ns,first_token_ns,finish_ns,"
                    "preemptions",
                    "WHERE run=?1 ORDER BY request", VALUES(V_INT(out->id)), err))
        return false;
    out->requests = ARENA_NEW(arena, struct run_request, most);
    while (out->n_requests < most && sql_next(&rows, err))
        out->requests[out->n_requests++] = (struct run_request){.request = sql_int(&rows, 0),
                .replica = (int)sql_int(&rows, 1),
                .prompt_len = sql_int(&rows, 2),
                .output_len = sql_int(&rows, 3),
                .arrival_ns = sql_int(&rows, 4),
                .first_token_ns = sql_int(&rows, 5),
                .finish_ns = sql_int(&rows, 6),
                .preemptions = (int)sql_int(&rows, 7)};
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool read_steps(struct run_row *out, struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t most;

    if (!count_rows(&most, db, "run_step", out->id, err)
            || !sql_select(&rows, db, "run_step",
                    "replica,stage,step,start_ns,busy_ns,wait_ns,tokens,sequences,prefill_tokens,"
                    "kv_tokens",
                    "WHERE run=?1 ORDER BY replica,stage,step", VALUES(V_INT(out->id)), err))
        return false;
    out->steps = ARENA_NEW(arena, struct run_step, most);
    while (out->n_steps < most && sql_next(&rows, err))
        out->steps[out->n_steps++] = (struct run_step){.replica = (int)sql_int(&rows, 0),
                .stage = (int)sql_int(&rows, 1),
                .step = sql_int(&rows, 2),
                .start_ns = sql_int(&rows, 3),
                .busy_ns = sql_int(&rows, 4),
                .wait_ns = sql_int(&rows, 5),
                .tokens = (int)sql_int(&rows, 6),
                .sequences = (int)sql_int(&rows, 7),
                .prefill_tokens = (int)sql_int(&rows, 8),
                .kv_tokens = sql_int(&rows, 9)};
    sql_end(&rows);
    return err->kind == ERR_NONE;
}

static bool read_plan(struct run_row *out, struct db *db, struct arena *arena, struct err *err)
{
    struct rows rows;
    const char *yaml = NULL;

    if (!sql_select(&rows, db, "plan", "yaml", "WHERE id=?1", VALUES(V_INT(out->plan_id)), err))
        return false;
    if (sql_next(&rows, err))
        yaml = sql_text(&rows, 0, arena);
    sql_end(&rows);
    if (err->kind)
        return false;
    const char *place = arena_printf(arena, "%s: plan %lld", db_path(db), (long long)out->plan_id);
    if (!conf_read(&out->plan, &plan_table, yaml ? yaml : "", yaml ? (int64_t)strlen(yaml) : 0,
                place, arena, err))
        return false;
    out->plan_name = out->plan.name;
    return true;
}

static const char run_columns[] =
        "id,plan,provenance,model,workload,wall_s,status,bottleneck,output_tokens_per_s,"
        "total_tokens_per_s,requests_per_s,ttft_p50_us,ttft_p99_us,tpot_p50_us,tpot_p99_us,e2e_p50_"
        "us,"
        "makespan_s,memory_bytes,goodput_requests_per_s,lo_frac,hi_frac";

/* Returns the id of the provenance, which the caller reads when this statement has ended. */
static int64_t read_row(struct run_row *out, const struct rows *rows, struct arena *arena)
{
    *out = (struct run_row){.id = sql_int(rows, 0),
            .plan_id = sql_int(rows, 1),
            .model = sql_text(rows, 3, arena),
            .workload = sql_text(rows, 4, arena),
            .wall_s = sql_int(rows, 5),
            .status = sql_text(rows, 6, arena),
            .bottleneck = sql_text(rows, 7, arena)};
    out->measured = (struct plan_figures){.output_tokens_per_s = sql_real(rows, 8),
            .total_tokens_per_s = sql_real(rows, 9),
            .requests_per_s = sql_real(rows, 10),
            .ttft_p50_us = sql_real(rows, 11),
            .ttft_p99_us = sql_real(rows, 12),
            .tpot_p50_us = sql_real(rows, 13),
            .tpot_p99_us = sql_real(rows, 14),
            .e2e_p50_us = sql_real(rows, 15),
            .makespan_s = sql_real(rows, 16),
            .memory_bytes = sql_int(rows, 17),
            .goodput_requests_per_s = sql_real(rows, 18),
            .lo_frac = sql_real(rows, 19),
            .hi_frac = sql_real(rows, 20)};
    return sql_int(rows, 2);
}

static bool finish_row(struct run_row *out, struct db *db, int64_t provenance, bool details,
        struct arena *arena, struct err *err)
{
    if (!provenance_read(&out->provenance, db, provenance, arena, err)
            || !read_plan(out, db, arena, err))
        return false;
    out->host = out->provenance.host;
    out->device = out->provenance.device;
    out->commit = out->provenance.commit;
    return !details
           || (read_figures(out, db, arena, err) && read_requests(out, db, arena, err)
                   && read_steps(out, db, arena, err));
}

bool run_store_list(struct run_row **out, int64_t *n, struct db *db, int64_t limit, bool details,
        struct arena *arena, struct err *err)
{
    struct arena scratch = {0};
    struct rows rows;
    int64_t most = 0, *provenance = NULL;

    *n = 0;
    *out = NULL;
    bool ok = sql_select(&rows, db, "run", run_columns, "ORDER BY id DESC LIMIT ?1",
            VALUES(V_INT(limit > 0 ? limit : INT64_MAX)), err);
    while (ok && sql_next(&rows, err)) {
        if (*n == most) {
            int64_t more = most * 2 + 16;
            *out = arena_grow(arena, *out, most, more, sizeof **out);
            provenance = arena_grow(&scratch, provenance, most, more, sizeof *provenance);
            most = more;
        }
        provenance[*n] = read_row(&(*out)[*n], &rows, arena);
        (*n)++;
    }
    ok = ok && err->kind == ERR_NONE;
    for (int64_t i = 0; ok && i < *n; i++)
        ok = finish_row(&(*out)[i], db, provenance[i], details, arena, err);
    arena_free(&scratch);
    return ok;
}

bool run_store_read(
        struct run_row *out, struct db *db, int64_t run, struct arena *arena, struct err *err)
{
    struct rows rows;
    int64_t provenance;

    if (!sql_select(&rows, db, "run", run_columns, "WHERE id=?1", VALUES(V_INT(run)), err))
        return false;
    if (!sql_next(&rows, err))
        return err_set(err, ERR_INPUT,
                "%s: there is no run %lld: `shardwright db list %s` shows them", db_path(db),
                (long long)run, db_path(db));
    provenance = read_row(out, &rows, arena);
    sql_end(&rows);
    return finish_row(out, db, provenance, true, arena, err);
}
