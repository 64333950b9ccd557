/*
 * row_sum - the checksum of a row: XXH64 over the table's name and the type, length and content of every other
 * column in the order of the schema, so that nothing can move between columns. Two ways to the same sum: a function
 * for SQL, and one over values that were read, which is several times as quick.
 */
#ifndef DB_ROW_SUM_H
#define DB_ROW_SUM_H

#include "db/sql_store.h"

struct sqlite3;

/* row_sum(table, id, columns...); an SQLite result code. */
int row_sum_register(struct sqlite3 *handle);
/* Of n values: id and the columns of the table, without row_sum. Text has its length in i. */
int64_t row_sum_of(const char *table, const struct value *values, int n);

#endif
