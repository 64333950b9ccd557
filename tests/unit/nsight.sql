-- A trace in the tables of an Nsight Systems export, written for the tests: figures are made up. One process
-- (globalPid 0x1000000), threads 7 and 8 of it.
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT, busLocation TEXT);
CREATE TABLE NVTX_EVENTS (start INTEGER NOT NULL, end INTEGER, eventType INTEGER NOT NULL, text TEXT, globalTid INTEGER,
    endGlobalTid INTEGER, textId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, end INTEGER, globalTid INTEGER, correlationId INTEGER,
    nameId INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
    correlationId INTEGER, globalPid INTEGER, demangledName INTEGER, shortName INTEGER);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER, end INTEGER, deviceId INTEGER, streamId INTEGER,
    correlationId INTEGER, globalPid INTEGER, bytes INTEGER, copyKind INTEGER);

INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H200', '0000:18:00.0');
INSERT INTO StringIds VALUES (1, 'gemm bf16 m=8 n=1024 k=3072'), (2, 'nvjet_tst_128x64(int)'), (3, 'splitKreduce(float)'),
    (4, 'flash_fwd_splitkv_kernel<128>'), (5, 'elementwise'), (6, 'cudaLaunchKernel');

-- Three executions of a product, of two kernels that overlap: 10, 12 and 11 us busy. The range lies in another one.
INSERT INTO NVTX_EVENTS VALUES (0, 900000, 59, 'decode step', 0x1000007, NULL, NULL),
    (1000, 2000, 59, NULL, 0x1000007, NULL, 1), (101000, 102000, 59, NULL, 0x1000007, NULL, 1),
    (201000, 202000, 59, 'gemm bf16 k=3072 n=1024 m=8 threads=1 busy=0', 0x1000007, NULL, NULL),
    -- on another thread, around the same time: it has none of them
    (0, 900000, 60, 'rmsnorm f32 m=8 n=1024 residual=1', 0x1000008, NULL, NULL);
INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (1100, 1200, 0x1000007, 1, 6), (1300, 1400, 0x1000007, 2, 6),
    (101100, 101200, 0x1000007, 3, 6), (201100, 201200, 0x1000007, 4, 6), (300000, 300100, 0x1000007, 5, 6),
    (400000, 400100, 0x1000007, 6, 6), (500000, 500100, 0x1000008, 7, 6);
INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (10000, 18000, 0, 7, 1, 0x1000000, 2, 2),
    (16000, 20000, 0, 8, 2, 0x1000000, 3, 3), (110000, 122000, 0, 7, 3, 0x1000000, 2, 2),
    (210000, 221000, 0, 7, 4, 0x1000000, 2, 2),
    -- in no range that is an op: only the table knows
    (310000, 330000, 0, 7, 5, 0x1000000, 4, 4), (410000, 450000, 0, 7, 6, 0x1000000, 5, 5),
    (510000, 513000, 0, 7, 7, 0x1000000, 5, 5);
-- inside the device, to the host
INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (600000, 602000, 0, 7, 8, 0x1000000, 65536, 8),
    (610000, 690000, 0, 7, 9, 0x1000000, 65536, 2);
