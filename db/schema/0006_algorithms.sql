-- Algorithms of a library's products, chosen by timing on a device. The bytes are the library's own; they mean
-- something to the same version of it on the same device and driver.
CREATE TABLE algorithm (
    id      INTEGER PRIMARY KEY,
    device  TEXT NOT NULL,    -- as the driver names it
    driver  INTEGER NOT NULL, -- as the driver counts: 13010
    library TEXT NOT NULL,    -- name and version
    dtype   TEXT NOT NULL,    -- of the weights
    form    TEXT NOT NULL,    -- what is computed beside the product
    m       INTEGER NOT NULL, -- y[m, ldy] = x[m, ldx] w[n, k]^T
    n       INTEGER NOT NULL,
    k       INTEGER NOT NULL,
    ldx     INTEGER NOT NULL,
    ldy     INTEGER NOT NULL,
    bytes   BLOB NOT NULL,
    cost_us REAL NOT NULL,    -- of one execution, when it was chosen
    row_sum INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX algorithm_key ON algorithm (
    device, driver, library, dtype, form, m, n, k, ldx, ldy);
