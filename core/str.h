/*
 * str - text to and from sizes, durations and rates, exactly as people write them.
 *
 * A number without a unit where one belongs is refused, except 0. All fill err with kind ERR_INPUT and
 * a message that names what was found and what was expected, without a place: the caller adds it.
 */
#ifndef CORE_STR_H
#define CORE_STR_H

#include <stdint.h>

#include "core/err.h"

/* "80GiB", "512MiB", "1.5GB", "4096B"; KiB MiB GiB TiB PiB (2^10k), kB MB GB TB PB (10^3k), B */
MUST_CHECK bool str_to_bytes(int64_t *out, const char *text, struct err *err);
/* "2.5ms" "10us" "3s" "90min" "2h" "100ns" to microseconds */
MUST_CHECK bool str_to_us(double *out, const char *text, struct err *err);
/* "400Gbit/s", "25GB/s", "3.35TB/s", "10MiB/s" to bytes per second */
MUST_CHECK bool str_to_bytes_per_s(double *out, const char *text, struct err *err);
MUST_CHECK bool str_to_i64(int64_t *out, const char *text, struct err *err);
MUST_CHECK bool str_to_double(double *out, const char *text, struct err *err);

/* The shortest text that reads back as the same value; buf of at least 32 bytes; returns buf. */
char *str_from_bytes(char *buf, int64_t bytes);
char *str_from_us(char *buf, double us);
char *str_from_bytes_per_s(char *buf, double rate);
char *str_from_double(char *buf, double value); /* finite */
/* For people: three significant digits, "1.23 GiB", "45.6 ms". */
char *str_show_bytes(char *buf, double bytes);
char *str_show_us(char *buf, double us);
char *str_show_bytes_per_s(char *buf, double rate); /* powers of 1000: "63.5 GB/s" */

/* The name in names[0..n) nearest to text (edit distance <= 1/2 its length), or NULL: "did you mean". */
const char *str_nearest(const char *text, const char *const *names, int n);

#endif
