/* The grid along one dimension: which sizes, and how soon each is wanted. */
#include "profiler/points.h"

static bool power_of_two(int64_t n)
{
    return (n & (n - 1)) == 0;
}

/* 1 8 32 128 512 ... first, the other powers of two next, 3/2 of them last. */
static int size_level(int64_t size)
{
    if (size == 1 || size == 8 || size == 32)
        return 0;
    if (!power_of_two(size))
        return 2;
    int log = 0;
    while (size > 1) {
        size /= 2;
        log++;
    }
    return log >= 7 && log % 2 == 1 ? 0 : 1;
}

int points_sizes(struct size_level out[POINTS_SIZES], int64_t max)
{
    int n = 0;
    for (int64_t size = 1; size < max && n < POINTS_SIZES - 2; size *= 2) {
        out[n++] = (struct size_level){size, size_level(size)};
        if (size >= 2 && size * 3 / 2 < max)
            out[n++] = (struct size_level){size * 3 / 2, size_level(size * 3 / 2)};
    }
    out[n++] = (struct size_level){max, 0};
    return n;
}

int points_lengths(struct size_level out[POINTS_SIZES], int64_t max)
{
    int n = 0;
    for (int64_t size = 16; size < max && n < POINTS_SIZES - 1; size *= 2) {
        int level = size == 16 || size == 256 || size == 4096 || size == 32768 ? 0 : 1;
        out[n++] = (struct size_level){size, size == 32 ? 2 : level};
    }
    out[n++] = (struct size_level){max, 0};
    return n;
}
