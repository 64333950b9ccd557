#include "cli/plan_json.h"

#include <stdio.h>

#include "core/conf_json.h"

void plan_print_json(const struct plan *plan, bool measured)
{
    struct json_writer w = {.pretty = true};
    json_object_begin(&w, NULL);
    json_put_string(&w, "plan", plan->name);
    json_put_bool(&w, "measured", measured);
    conf_put_json(&w, plan, &plan_table);
    json_end(&w);
    puts(w.text);
    json_writer_free(&w);
}
