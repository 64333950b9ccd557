/* What a workload and a plan may ask of serving, on one rank: the tokens stay what they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/log.h"
#include "runtime/runtime.h"

enum {
    REQUESTS = 6,
    OUTPUT = 8,
    PROMPT = 21,
    BLOCK = 4
};

struct fixture {
    struct arena arena;
    struct model model;
    struct plan_stage stage;
    struct plan_replica replica;
    struct plan plan;
    struct workload workload;
    struct request items[REQUESTS];
    struct requests requests;
    struct runtime_options options;
    int ranks[1];
};

static struct ranks *ranks;

static void make(struct fixture *f)
{
    struct err err = {0};

    arena_free(&f->arena);
    memset(f, 0, sizeof *f);
    if (!model_read(&f->model, SOURCE_DIR "/models/tiny-llama.yaml", SOURCE_DIR, &f->arena, &err))
        fail_msg("%s", err.text);
    f->stage = (struct plan_stage){.end_layer = f->model.n_layers,
            .tp = 1,
            .ep = 1,
            .attention_dp = 1,
            .threads = 1,
            .kind = "core",
            .ranks = f->ranks,
            .n_ranks = 1};
    f->replica = (struct plan_replica){.stages = &f->stage,
            .n_stages = 1,
            .max_seqs = 4,
            .max_tokens = 16,
            .in_flight = 1,
            .kv_blocks = 64};
    f->plan = (struct plan){.dtype = DTYPE_BF16,
            .kv_dtype = DTYPE_BF16,
            .block_tokens = BLOCK,
            .max_len = PROMPT + OUTPUT,
            .deterministic = true,
            .replicas = &f->replica,
            .n_replicas = 1,
            .n_ranks = 1};
    f->workload.sampling.temperature = 1;
    f->workload.sampling.top_p = 1;
    for (int i = 0; i < REQUESTS; i++)
        f->items[i] = (struct request){
                .prompt_len = PROMPT, .output_len = OUTPUT, .seed = (uint64_t)i + 1};
    f->requests = (struct requests){.items = f->items, .n = REQUESTS};
    f->options = (struct runtime_options){.plan = &f->plan,
            .model = &f->model,
            .workload = &f->workload,
            .requests = &f->requests,
            .warmup_steps = -1,
            .keep_tokens = true};
}

static struct runtime_result run(struct fixture *f)
{
    struct runtime_result result;
    struct err err = {0};

    if (!runtime_run(&result, &f->options, ranks, NULL, &f->arena, &err))
        fail_msg("%s", err.text);
    return result;
}

static void same_tokens(const struct runtime_result *a, const struct runtime_result *b)
{
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(a->n_tokens[i], b->n_tokens[i]);
        assert_memory_equal(a->tokens[i], b->tokens[i], sizeof(int32_t) * (size_t)a->n_tokens[i]);
    }
}

static void drawn_tokens_do_not_depend_on_the_batches(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    struct runtime_result wide = run(&f);
    f.replica.max_seqs = 1;
    f.replica.max_tokens = 5;
    struct runtime_result narrow = run(&f);
    same_tokens(&wide, &narrow);
    f.replica.max_seqs = 4;
    f.replica.max_tokens = 16;
    f.replica.kv_blocks = 13; /* two prompts fit, their outputs do not: one is computed again */
    narrow = run(&f);
    assert_true(narrow.n_preemptions > 0);
    same_tokens(&wide, &narrow);
    assert_int_equal(wide.n_finished, REQUESTS);
    arena_free(&f.arena);
}

static void a_stop_token_ends_its_request_alone(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    struct runtime_result whole = run(&f);
    const int stop[] = {whole.tokens[2][3], whole.tokens[4][5]};
    f.workload.sampling.stop = stop;
    f.workload.sampling.n_stop = 2;
    struct runtime_result cut = run(&f);
    for (int i = 0; i < REQUESTS; i++) {
        int64_t n = 0;

        while (n < OUTPUT && whole.tokens[i][n] != stop[0] && whole.tokens[i][n] != stop[1])
            n++;
        assert_int_equal(cut.n_tokens[i], n < OUTPUT ? n + 1 : OUTPUT);
        assert_memory_equal(
                cut.tokens[i], whole.tokens[i], sizeof(int32_t) * (size_t)cut.n_tokens[i]);
        assert_int_equal(cut.records[i].outcome, REQUEST_FINISHED);
    }
    assert_true(cut.n_tokens[2] <= 4);
    arena_free(&f.arena);
}

static void a_prompt_that_is_known_is_not_computed_again(void **state)
{
    static const int64_t hashes[] = {77, 78, 79};
    struct fixture f = {0};
    (void)state;

    make(&f);
    for (int i = 0; i < REQUESTS; i++) { /* 12 of 21 tokens are the same */
        f.items[i].prefix_hash = hashes;
        f.items[i].n_prefix_hash = 3;
    }
    int32_t shared[PROMPT], own[REQUESTS][PROMPT];
    const int32_t *prompts[REQUESTS];
    for (int t = 0; t < PROMPT; t++)
        shared[t] = 100 + t;
    for (int i = 0; i < REQUESTS; i++) {
        memcpy(own[i], shared, sizeof shared);
        for (int t = 12; t < PROMPT; t++)
            own[i][t] = 200 + 10 * i + t;
        prompts[i] = own[i];
    }
    f.requests.hash_tokens = BLOCK;
    f.options.prompts = prompts;
    f.replica.max_seqs = 2;
    struct runtime_result computed = run(&f);
    assert_int_equal(computed.n_reused_tokens, 0);
    f.plan.prefix_cache = true;
    struct runtime_result reused = run(&f);
    assert_true(reused.n_reused_tokens >= INT64_C(12) * (REQUESTS - 2));
    assert_int_equal(reused.records[REQUESTS - 1].reused_tokens, 12);
    same_tokens(&computed, &reused);
    f.replica.kv_blocks = 10;
    reused = run(&f);
    same_tokens(&computed, &reused);
    arena_free(&f.arena);
}

static void a_full_queue_and_a_deadline_refuse(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    struct runtime_result all = run(&f);
    f.replica.max_seqs = 1;
    f.workload.admission.max_queue = 2;
    struct runtime_result some = run(&f);
    assert_int_equal(some.n_finished, 3); /* one runs, two wait */
    assert_int_equal(some.n_refused_full, 3);
    for (int i = 0; i < REQUESTS; i++) {
        bool served = some.records[i].outcome == REQUEST_FINISHED;

        assert_int_equal(some.n_tokens[i], served ? OUTPUT : 0);
        if (served)
            assert_memory_equal(some.tokens[i], all.tokens[i], sizeof(int32_t) * OUTPUT);
    }
    f.workload.admission.max_queue = 0;
    f.items[5].deadline_ns = 1;
    f.items[4].priority = 3;
    some = run(&f);
    assert_int_equal(some.records[5].outcome, REQUEST_REFUSED_LATE);
    assert_int_equal(some.n_refused_late, 1);
    assert_int_equal(some.n_finished, 5);
    assert_true(some.records[4].finish_ns < some.records[0].first_token_ns);
    arena_free(&f.arena);
}

static const struct conf_field *field_of(const struct conf_table *table, const char *name)
{
    const struct conf_field *field = table->fields;

    while (strcmp(field->key, name) != 0)
        field++;
    return field;
}

/* Names in a plan file are numbered as the kernels number them. */
static void a_stage_may_ask_for_an_instruction_set(void **state)
{
    struct fixture f = {0};
    (void)state;

    make(&f);
    const struct conf_table *replica = field_of(&plan_table, "replicas")->sub;
    const char *const *names = field_of(field_of(replica, "stages")->sub, "isa")->names;
    for (int i = 0; dev_isa_names[i]; i++)
        assert_string_equal(names[i], dev_isa_names[i]);
    f.options.isa = ISA_PORTABLE;
    struct runtime_result asked = run(&f);
    f.options.isa = ISA_AUTO;
    f.stage.isa = ISA_PORTABLE;
    struct runtime_result planned = run(&f);
    same_tokens(&asked, &planned);
    arena_free(&f.arena);
}

static void a_trace_has_every_op_in_its_step(void **state)
{
    struct fixture f = {0};
    int64_t ops_ns = 0, busy_ns = 0;
    (void)state;

    make(&f);
    f.options.trace_events = 100000;
    struct runtime_result result = run(&f);
    assert_int_equal(result.n_trace, 1);
    const struct rank_trace *trace = &result.trace[0];
    assert_true(trace->n_steps > OUTPUT && trace->n_events > trace->n_steps * f.model.n_layers);
    assert_int_equal(trace->events_lost, 0);
    for (int64_t i = 0; i < trace->n_events; i++) {
        const struct run_event *e = &trace->events[i];
        const struct run_step *step = &trace->steps[e->step];

        assert_true(e->start_ns >= step->start_ns);
        assert_true(e->start_ns + e->took_ns <= step->start_ns + step->busy_ns);
        ops_ns += e->took_ns;
    }
    for (int64_t i = 0; i < trace->n_steps; i++)
        busy_ns += trace->steps[i].busy_ns;
    assert_true(ops_ns <= busy_ns && ops_ns > busy_ns / 2);
    f.options.trace_events = 10;
    result = run(&f);
    assert_int_equal(result.trace[0].n_events, 10);
    assert_true(result.trace[0].events_lost > 100);
    arena_free(&f.arena);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(drawn_tokens_do_not_depend_on_the_batches),
            cmocka_unit_test(a_stop_token_ends_its_request_alone),
            cmocka_unit_test(a_prompt_that_is_known_is_not_computed_again),
            cmocka_unit_test(a_full_queue_and_a_deadline_refuse),
            cmocka_unit_test(a_stage_may_ask_for_an_instruction_set),
            cmocka_unit_test(a_trace_has_every_op_in_its_step),
    };
    struct err err = {0};

    log_setup(LOG_ERROR, 0);
    ranks = ranks_open(&argc, &argv, &err);
    if (!ranks)
        return 3;
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    ranks_close(ranks);
    return status;
}
