#include "core/spec/device_sheet.h"

#include <string.h>

#include "core/str.h"

#define GB   INT64_C(1000000000)
#define GB_S 1e9
#define TB_S 1e12
#define TF   1e12
#define GBIT (1e9 / 8)

/*
 * Sources, bf16 and fp8 without sparsity (half of what a sheet gives with it); NVLink figures of the sheets are both directions together, halved here:
 *   a100  NVIDIA A100 Tensor Core GPU datasheet (SXM); DGX A100 datasheet (8 x 200 Gbit/s)
 *   h20   NVIDIA H20, as listed by server vendors
 *   h100  NVIDIA H100 Tensor Core GPU datasheet (SXM); DGX H100 datasheet (8 x 400 Gbit/s)
 *   h200  NVIDIA H200 Tensor Core GPU datasheet (SXM); DGX H200 datasheet
 *   b200  DGX B200 datasheet: 1,440 GB and 64 TB/s over eight, 1.8 TB/s of NVLink each
 *   l4, l40s  NVIDIA L4 and L40S datasheets: PCIe 4.0 x16, no NVLink
 *   mi300x  AMD Instinct MI300X datasheet: seven Infinity Fabric links of 64 GB/s
 */
/* clang-format off */
static const struct device_sheet sheets[] = {
        {"a100-40",  40 * GB,  312 * TF,         0, 1.555 * TB_S, "nvlink", 300 * GB_S, 2, 200 * GBIT, 8},
        {"a100-80",  80 * GB,  312 * TF,         0, 2.039 * TB_S, "nvlink", 300 * GB_S, 2, 200 * GBIT, 8},
        {"b200",    180 * GB, 2250 * TF, 4500 * TF, 8.0 * TB_S,   "nvlink", 900 * GB_S, 2, 400 * GBIT, 8},
        {"h100",     80 * GB,  989 * TF, 1979 * TF, 3.35 * TB_S,  "nvlink", 450 * GB_S, 2, 400 * GBIT, 8},
        {"h20",      96 * GB,  148 * TF,  296 * TF, 4.0 * TB_S,   "nvlink", 450 * GB_S, 2, 400 * GBIT, 8},
        {"h200",    141 * GB,  989 * TF, 1979 * TF, 4.8 * TB_S,   "nvlink", 450 * GB_S, 2, 400 * GBIT, 8},
        {"l4",       24 * GB,  121 * TF,  242 * TF, 0.3 * TB_S,   "pcie",    32 * GB_S, 5, 100 * GBIT, 8},
        {"l40s",     48 * GB,  362 * TF,  733 * TF, 0.864 * TB_S, "pcie",    32 * GB_S, 5, 200 * GBIT, 8},
        {"mi300x",  192 * GB, 1307 * TF, 2615 * TF, 5.3 * TB_S,   "fabric", 448 * GB_S, 2, 400 * GBIT, 8},
};
/* clang-format on */
#define N_SHEETS ((int)(sizeof sheets / sizeof sheets[0]))

const struct device_sheet *device_sheet_find(const char *name)
{
    if (strcmp(name, "a100") == 0)
        name = "a100-80";
    for (int i = 0; i < N_SHEETS; i++)
        if (strcmp(sheets[i].name, name) == 0)
            return &sheets[i];
    return NULL;
}

const char *device_sheet_nearest(const char *name)
{
    const char *names[N_SHEETS];
    for (int i = 0; i < N_SHEETS; i++)
        names[i] = sheets[i].name;
    return str_nearest(name, names, N_SHEETS);
}

const char *device_sheet_names(void)
{
    return "a100-40, a100-80, b200, h100, h20, h200, l4, l40s, mi300x";
}
