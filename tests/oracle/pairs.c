#include "tests/oracle/pairs.h"

#include <stdlib.h>
#include <string.h>

void pairs_add(struct pairs *pairs, struct pair pair)
{
    int lo = 0; /* the first that is slower than the pair */
    int hi = pairs->n;
    while (lo < hi) {
        int middle = (lo + hi) / 2;
        if (pairs->items[middle].slowest > pair.slowest)
            hi = middle;
        else
            lo = middle + 1;
    }
    if (lo > 0 && pairs->items[lo - 1].sum <= pair.sum)
        return;
    int from = lo > 0 && pairs->items[lo - 1].slowest >= pair.slowest ? lo - 1 : lo;
    int to = lo;
    while (to < pairs->n && pairs->items[to].sum >= pair.sum)
        to++;
    if (pairs->n + 1 > pairs->cap) {
        pairs->cap = pairs->cap > 0 ? 2 * pairs->cap : 4;
        pairs->items = realloc(pairs->items, sizeof pair * (size_t)pairs->cap);
        if (pairs->items == NULL)
            abort();
    }
    memmove(&pairs->items[from + 1], &pairs->items[to], sizeof pair * (size_t)(pairs->n - to));
    pairs->items[from] = pair;
    pairs->n += 1 - (to - from);
}
