#include "tests/mpi/watch_memory.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "runtime/host.h"

static void sample(struct watch_memory *w)
{
    if (w->n == WATCH_MEMORY_SAMPLES) {
        w->n /= 2;
        for (int64_t i = 0; i < w->n; i++) {
            w->at_s[i] = w->at_s[2 * i];
            w->bytes[i] = w->bytes[2 * i];
        }
        w->interval_s *= 2;
    }
    w->bytes[w->n] = (double)host_resident_bytes();
    w->at_s[w->n++] = (double)clock_now_ns() * 1e-9 - w->begin_s;
}

static void *run(void *self)
{
    enum {
        NAP_NS = 20000000
    };
    struct watch_memory *w = self;

    while (!atomic_load(&w->stop)) {
        clock_sleep_ns(NAP_NS);
        if ((double)clock_now_ns() * 1e-9 - w->begin_s >= w->at_s[w->n - 1] + w->interval_s)
            sample(w);
    }
    return NULL;
}

void watch_memory_begin(struct watch_memory *w)
{
    w->n = 0;
    w->interval_s = 0.1;
    w->begin_s = (double)clock_now_ns() * 1e-9;
    sample(w);
    atomic_store(&w->stop, false);
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        fprintf(stderr, "no thread to watch the memory with\n");
        exit(1);
    }
}

void watch_memory_end(struct watch_memory *w)
{
    atomic_store(&w->stop, true);
    pthread_join(w->thread, NULL);
    sample(w);
}

double watch_memory_growth(const struct watch_memory *w)
{
    return w->bytes[w->n - 1] - w->bytes[0];
}

double watch_memory_slope(const struct watch_memory *w)
{
    double n = 0, t = 0, y = 0, tt = 0, ty = 0;

    for (int i = 0; i < w->n; i++) {
        double at = w->at_s[i], value = w->bytes[i] - w->bytes[0];

        if (at < w->at_s[w->n - 1] / 2)
            continue;
        n++;
        t += at;
        y += value;
        tt += at * at;
        ty += at * value;
    }
    double spread = n * tt - t * t;
    return spread > 0 ? (n * ty - t * y) / spread : 0;
}
