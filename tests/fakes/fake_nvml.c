/* NVML of a machine with two GPUs: one is held back, the other does not say how much power it takes. */
#include <stdint.h>

/* NOLINTBEGIN(readability-identifier-naming): NVIDIA's names */
int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *n);
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device);
int nvmlDeviceGetClockInfo(const int *device, int clock, unsigned *mhz);
int nvmlDeviceGetMaxClockInfo(const int *device, int clock, unsigned *mhz);
int nvmlDeviceGetPowerUsage(const int *device, unsigned *milliwatt);
int nvmlDeviceGetEnforcedPowerLimit(const int *device, unsigned *milliwatt);
int nvmlDeviceGetCurrentClocksThrottleReasons(const int *device, unsigned long long *bits);

/* For the test: how many there are; negative = the driver does not answer. */
extern int fake_nvml_gpus;
int fake_nvml_gpus = 2;

enum {
    NOT_SUPPORTED = 3,
    DRIVER_NOT_LOADED = 9
};

static int gpus[2] = {0, 1};

int nvmlInit_v2(void)
{
    return fake_nvml_gpus < 0 ? DRIVER_NOT_LOADED : 0;
}

int nvmlShutdown(void)
{
    return 0;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = (unsigned)fake_nvml_gpus;
    return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device)
{
    *device = &gpus[i];
    return 0;
}

int nvmlDeviceGetClockInfo(const int *device, int clock, unsigned *mhz)
{
    *mhz = clock == 1 ? 1200 + (unsigned)*device : 2619;
    return 0;
}

int nvmlDeviceGetMaxClockInfo(const int *device, int clock, unsigned *mhz)
{
    (void)device;
    *mhz = clock == 1 ? 1980 : 2619;
    return 0;
}

int nvmlDeviceGetPowerUsage(const int *device, unsigned *milliwatt)
{
    *milliwatt = 690400;
    return *device == 1 ? NOT_SUPPORTED : 0;
}

int nvmlDeviceGetEnforcedPowerLimit(const int *device, unsigned *milliwatt)
{
    (void)device;
    *milliwatt = 700000;
    return 0;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const int *device, unsigned long long *bits)
{
    *bits = *device == 1 ? 0 : 0x24;
    return 0;
}
/* NOLINTEND(readability-identifier-naming) */
