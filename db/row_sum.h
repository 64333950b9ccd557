/*
 * row_sum - the checksum of a row: XXH64 over the table's name and the type, length and content of every other
 * column in the order of the schema, so that nothing can move between columns. Two ways to the same sum: a function
 * for SQL, and one for a row that a statement stands on, which is several times as quick.
 */
#ifndef DB_ROW_SUM_H
#define DB_ROW_SUM_H

#include <stdint.h>

struct sqlite3;
struct sqlite3_stmt;

/* row_sum(table, id, columns...); an SQLite result code. */
int row_sum_register(struct sqlite3 *handle);
/* Of the statement's row, whose first n columns are those of the table without row_sum. */
int64_t row_sum_of(struct sqlite3_stmt *stmt, const char *table, int n);

#endif
