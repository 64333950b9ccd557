/*
 * What --force takes: key=value pairs with commas between them, layers as 10+18.
 */
#include <stdlib.h>
#include <string.h>

#include "core/str.h"
#include "planner/planner.h"

struct force_key {
    const char *name;
    size_t at;
    bool wide; /* int64_t */
};

#define AT(member) offsetof(struct plan_force, member)
static const struct force_key keys[] = {{"tp", AT(tp), false}, {"pp", AT(pp), false},
        {"dp", AT(dp), false}, {"ep", AT(ep), false}, {"adp", AT(attention_dp), false},
        {"threads", AT(threads), false}, {"max_seqs", AT(max_seqs), false},
        {"max_tokens", AT(max_tokens), false}, {"in_flight", AT(in_flight), false},
        {"kv_blocks", AT(kv_blocks), true}};
#undef AT
static const char *const key_names[] = {"tp", "pp", "dp", "ep", "adp", "threads", "max_seqs",
        "max_tokens", "in_flight", "kv_blocks", "layers"};

enum {
    N_KEYS = sizeof keys / sizeof keys[0],
    N_NAMES = sizeof key_names / sizeof key_names[0],
    MOST = 1 << 20
};

static bool positive(int64_t *out, const char *key, const char *text, struct err *err)
{
    struct err reason = {0};
    if (!str_to_i64(out, text, &reason) || *out < 1 || *out > MOST)
        return err_set(err, ERR_INPUT, "--force %s=%s: expected a whole number from 1 to %d", key,
                text, MOST);
    return true;
}

static bool parse_layers(struct plan_force *out, char *text, struct arena *arena, struct err *err)
{
    int n = 1;
    for (const char *p = text; *p != 0; p++)
        n += *p == '+';
    int *layers = ARENA_NEW(arena, int, n);
    char *rest = text;
    for (int i = 0; i < n; i++) {
        char *end = strchr(rest, '+');
        if (end != NULL)
            *end = 0;
        int64_t value;
        if (!positive(&value, "layers", rest, err))
            return err_context(err, "stage %d", i);
        layers[i] = (int)value;
        rest = end != NULL ? end + 1 : rest;
    }
    out->layers = layers;
    out->n_layers = n;
    return true;
}

/* Whose key it is: "prefill.tp=2" is of the prefill replicas alone, and leaves tp=2. */
static struct plan_force *owner_of(struct plan_force *out, char **pair, struct arena *arena)
{
    static const char *const names[] = {"prefill.", "decode."};
    const struct plan_force **at[] = {&out->prefill, &out->decode};
    for (int r = 0; r < 2; r++) {
        if (strncmp(*pair, names[r], strlen(names[r])) != 0)
            continue;
        struct plan_force *own = ARENA_NEW(arena, struct plan_force, 1);
        if (*at[r] != NULL)
            *own = **at[r];
        *at[r] = own;
        *pair += strlen(names[r]);
        return own;
    }
    return out;
}

static bool parse_pair(struct plan_force *all, char *pair, struct arena *arena, struct err *err)
{
    struct plan_force *out = owner_of(all, &pair, arena);
    char *equals = strchr(pair, '=');
    if (equals == NULL)
        return err_set(err, ERR_INPUT,
                "--force %s: expected KEY=VALUE, as in tp=2,pp=2,layers=10+18", pair);
    *equals = 0;
    char *value = equals + 1;
    if (strcmp(pair, "layers") == 0)
        return parse_layers(out, value, arena, err);
    for (int k = 0; k < N_KEYS; k++) {
        int64_t number;
        if (strcmp(pair, keys[k].name) != 0)
            continue;
        if (!positive(&number, pair, value, err))
            return false;
        char *at = (char *)out + keys[k].at;
        int narrow = (int)number;
        if (keys[k].wide)
            memcpy(at, &number, sizeof number);
        else
            memcpy(at, &narrow, sizeof narrow);
        return true;
    }
    const char *near = str_nearest(pair, key_names, N_NAMES);
    if (near != NULL)
        return err_set(
                err, ERR_INPUT, "--force %s=%s: unknown key; did you mean %s?", pair, value, near);
    return err_set(err, ERR_INPUT,
            "--force %s=%s: unknown key; expected tp, pp, dp, ep, adp, threads, layers, max_seqs, "
            "max_tokens, in_flight or kv_blocks, or one of them with prefill. or decode. before it",
            pair, value);
}

bool plan_force_parse(
        struct plan_force *out, const char *text, struct arena *arena, struct err *err)
{
    memset(out, 0, sizeof *out);
    char *rest = arena_strdup(arena, text);
    while (rest != NULL && *rest != 0) {
        char *comma = strchr(rest, ',');
        if (comma != NULL)
            *comma = 0;
        if (!parse_pair(out, rest, arena, err))
            return false;
        rest = comma != NULL ? comma + 1 : NULL;
    }
    const struct plan_force *const each[] = {out, out->prefill, out->decode};
    for (int i = 0; i < 3; i++)
        if (each[i] != NULL && each[i]->n_layers > 0 && each[i]->pp > 0
                && each[i]->pp != each[i]->n_layers)
            return err_set(err, ERR_INPUT,
                    "--force pp=%d with %d stages in layers: they must agree", each[i]->pp,
                    each[i]->n_layers);
    return true;
}

struct plan_force plan_force_of(const struct plan_force *force, enum replica_role role)
{
    struct plan_force out = *force;
    const struct plan_force *own = role == ROLE_PREFILL  ? force->prefill
                                   : role == ROLE_DECODE ? force->decode
                                                         : NULL;
    out.prefill = out.decode = NULL;
    for (int k = 0; k < N_KEYS && own != NULL; k++) {
        int64_t wide = 0;
        int narrow = 0;
        size_t size = keys[k].wide ? sizeof wide : sizeof narrow;
        void *value = keys[k].wide ? (void *)&wide : (void *)&narrow;
        memcpy(value, (const char *)own + keys[k].at, size);
        if (wide > 0 || narrow > 0)
            memcpy((char *)&out + keys[k].at, value, size);
    }
    if (own != NULL && own->n_layers > 0) {
        out.layers = own->layers;
        out.n_layers = own->n_layers;
    }
    return out;
}
