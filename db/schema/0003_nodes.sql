-- Machines that a collective's group is spread over; 0 = all its ranks are on one. What was measured before
-- was measured on one machine. A row whose checksum held gets the one of its new columns; a damaged row
-- stays damaged.
ALTER TABLE op_point ADD COLUMN nodes INTEGER NOT NULL DEFAULT 0;

UPDATE op_point SET row_sum = row_sum('op_point', id, device, provenance, kind, dtype, degree, busy,
        d0, d1, d2, d3, d4, d5, cost_us, lo_us, hi_us, min_us, q1_us, q3_us, p99_us, mad_us, n_samples,
        cold, source, stop, samples, nodes)
    WHERE row_sum('op_point', id, device, provenance, kind, dtype, degree, busy, d0, d1, d2, d3, d4, d5,
        cost_us, lo_us, hi_us, min_us, q1_us, q3_us, p99_us, mad_us, n_samples, cold, source, stop,
        samples) IS row_sum;

DROP INDEX op_point_key;
CREATE UNIQUE INDEX op_point_key ON op_point (
    device, kind, dtype, degree, busy, d0, d1, d2, d3, d4, d5, nodes);
