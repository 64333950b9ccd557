#include "cli/provenance.h"

#include "cli/software.h"
#include "profiler/probe.h"

void provenance_of_this(struct provenance *out, struct arena *arena)
{
    const char *text = "";
    int n;

    probe_provenance(out, arena);
    struct software *software = software_probe(&n, false, arena);
    for (int i = 0; i < n; i++)
        if (software[i].state == SOFTWARE_HERE)
            text = arena_printf(arena, "%s%s%s %s", text, *text ? "; " : "", software[i].name,
                    software[i].version);
    out->software = text;
}
