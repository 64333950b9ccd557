#include "cli/costs.h"

#include "core/log.h"
#include "db/profile_store.h"
#include "planner/imported.h"

bool costs_read(struct profile **profiles, int *n, const struct costs_query *query,
        struct arena *arena, struct err *err)
{
    const struct cluster *cluster = query->cluster;
    struct profile_filter filter;
    imported_wanted(filter.dtypes, query->model, query->dtypes);
    *n = 0;
    *profiles = ARENA_NEW(arena, struct profile, cluster->n_kinds + 1);
    if (query->db_path == NULL)
        return true;
    struct db *db = db_open(query->db_path, DB_READ, err);
    if (db == NULL)
        return false;
    bool ok = true;
    for (int k = 0; k < cluster->n_kinds && ok; k++) {
        struct profile *profile = &(*profiles)[*n];
        ok = profile_store_read_some(profile, db, cluster->kinds[k].name, &filter, arena, err);
        if (!ok)
            break;
        if (profile->n > 0)
            ++*n;
        else
            log_line(LOG_WARN,
                    "%s holds no measurements of device kind %s: datasheet figures stand in",
                    query->db_path, cluster->kinds[k].name);
    }
    db_close(db);
    return ok;
}
