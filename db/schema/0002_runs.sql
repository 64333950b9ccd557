-- Plans, their executions, and how well predictions held.

CREATE TABLE plan (
    id                  INTEGER PRIMARY KEY,
    digest              TEXT NOT NULL UNIQUE, -- of the text
    name                TEXT,
    model               TEXT,
    shape               TEXT,                 -- "tp=2 pp=1 ..."
    output_tokens_per_s REAL,                 -- predicted
    yaml                TEXT NOT NULL,
    row_sum             INTEGER NOT NULL
) STRICT;

-- status stays 'running' when the process was killed.
CREATE TABLE run (
    id                     INTEGER PRIMARY KEY,
    uid                    TEXT NOT NULL UNIQUE, -- the same run in every copy and merge
    plan                   INTEGER NOT NULL REFERENCES plan (id),
    provenance             INTEGER NOT NULL REFERENCES provenance (id),
    model                  TEXT,
    workload               TEXT,
    wall_s                 INTEGER NOT NULL,
    status                 TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'stopped')),
    bottleneck             TEXT,
    output_tokens_per_s    REAL,
    total_tokens_per_s     REAL,
    requests_per_s         REAL,
    ttft_p50_us            REAL,
    ttft_p99_us            REAL,
    tpot_p50_us            REAL,
    tpot_p99_us            REAL,
    e2e_p50_us             REAL,
    makespan_s             REAL,
    memory_bytes           INTEGER,
    goodput_requests_per_s REAL,
    lo_frac                REAL,
    hi_frac                REAL,
    row_sum                INTEGER NOT NULL
) STRICT;

CREATE TABLE run_figure (
    id        INTEGER PRIMARY KEY,
    run       INTEGER NOT NULL REFERENCES run (id),
    scope     TEXT NOT NULL, -- run, replica, stage, rank, op
    number    INTEGER NOT NULL,
    name      TEXT NOT NULL,
    unit      TEXT,
    predicted REAL,
    measured  REAL,
    lo        REAL,
    hi        REAL,
    row_sum   INTEGER NOT NULL
) STRICT;
CREATE INDEX run_figure_run ON run_figure (run);

CREATE TABLE run_request (
    id             INTEGER PRIMARY KEY,
    run            INTEGER NOT NULL REFERENCES run (id),
    request        INTEGER NOT NULL,
    replica        INTEGER NOT NULL,
    prompt_len     INTEGER NOT NULL,
    output_len     INTEGER NOT NULL,
    arrival_ns     INTEGER NOT NULL, -- from the start of the run
    first_token_ns INTEGER NOT NULL,
    finish_ns      INTEGER NOT NULL,
    preemptions    INTEGER NOT NULL,
    row_sum        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_request_key ON run_request (run, request);

CREATE TABLE run_step (
    id             INTEGER PRIMARY KEY,
    run            INTEGER NOT NULL REFERENCES run (id),
    replica        INTEGER NOT NULL,
    stage          INTEGER NOT NULL,
    step           INTEGER NOT NULL,
    start_ns       INTEGER NOT NULL,
    busy_ns        INTEGER NOT NULL,
    wait_ns        INTEGER NOT NULL,
    tokens         INTEGER NOT NULL,
    sequences      INTEGER NOT NULL,
    prefill_tokens INTEGER NOT NULL,
    kv_tokens      INTEGER NOT NULL,
    row_sum        INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX run_step_key ON run_step (run, replica, stage, step);

-- Held-out checks of a profile (profile --check).
CREATE TABLE check_result (
    id         INTEGER PRIMARY KEY,
    provenance INTEGER NOT NULL REFERENCES provenance (id),
    device     TEXT NOT NULL,
    kind       TEXT NOT NULL,
    n          INTEGER NOT NULL,
    wall_s     INTEGER NOT NULL,
    mape       REAL,
    median     REAL,
    p90        REAL,
    p99        REAL,
    bias       REAL,
    coverage   REAL,
    row_sum    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX check_result_key ON check_result (provenance, device, kind, wall_s);
