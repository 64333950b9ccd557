#include "reports/emit_csv.h"

#include <stddef.h>

void csv_add(struct text *csv, const struct table *table)
{
    if (csv->len == 0)
        for (int i = 0; i < table->n_columns; i++) {
            text_csv(csv, table->columns[i].key);
            text_add(csv, i + 1 < table->n_columns ? "," : "\r\n");
        }
    for (int64_t row = 0; row < table->n_rows; row++)
        for (int i = 0; i < table->n_columns; i++) {
            const struct cell *cell = &table->cells[row * table->n_columns + i];
            if (table->columns[i].unit == UNIT_TEXT)
                text_csv(csv, cell->text);
            else
                text_number(csv, cell->number);
            text_add(csv, i + 1 < table->n_columns ? "," : "\r\n");
        }
}
