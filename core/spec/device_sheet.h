/*
 * device_sheet - public figures of kinds of accelerators, so that clusters can be planned for before there is
 * one: `--cluster 8x8:h200`. Dense peaks, one device, links in one direction. Measured costs always win.
 */
#ifndef CORE_SPEC_DEVICE_SHEET_H
#define CORE_SPEC_DEVICE_SHEET_H

#include <stdint.h>

struct device_sheet {
    const char *name;
    int64_t memory_bytes;
    double flops;    /* bf16, dense */
    double flops_f8; /* fp8, dense; 0 = has none */
    double memory_rate;
    const char *link; /* what joins the devices of a machine */
    double link_rate, link_us;
    double network_rate; /* of one device between machines, as the vendor's own systems have it */
    int node_devices;    /* of such a system */
};

/* "a100" is a100-80. NULL when unknown. */
const struct device_sheet *device_sheet_find(const char *name);
/* The known name nearest to an unknown one, or NULL. */
const char *device_sheet_nearest(const char *name);
/* "a100-40, a100-80, ..." for messages. */
const char *device_sheet_names(void);

#endif
