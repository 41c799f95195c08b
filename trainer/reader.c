/* reader.c: a CSV file -> rows of a model's columns, a block at a time. Works
 * out once which field feeds which number of the row; the rest is a loop.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a field of the file goes. */
struct feed {
    int64_t element; /* of the row, or -1: the field is passed over */
    int column;
};

/* The codes of a column's categories by name. */
struct table {
    struct tr_texts names;
    int *code; /* [names.n]: the first category that has the name */
};

struct tr_reader {
    struct tr_csv csv;
    struct ir_file file; /* all zero when the bytes are the caller's */
    int n_columns;
    const struct ir_column *columns;
    int64_t n_elements;
    int width; /* fields of each row */
    struct feed *feed;
    struct table *table; /* [n_columns] */
};

/* -------------------------------------------------------------- tables -- */

static void table_init(struct table *table, const struct ir_column *column)
{
    tr_texts_init(&table->names);
    if (column->n_categories == 0)
        return;
    table->code =
        ir_realloc_array(NULL, (size_t)column->n_categories, sizeof(int));
    for (int code = 0; code < column->n_categories; code++) {
        const char *name = column->categories[code];
        const int n = table->names.n;
        if (tr_texts_add(&table->names, name, strlen(name)) == n)
            table->code[n] = code;
    }
}

/* ------------------------------------------------------------- mapping -- */

static bool is_ignored(const struct tr_csv_options *options, const char *name)
{
    for (int i = 0; i < options->n_ignore; i++)
        if (!strcmp(options->ignore[i], name))
            return true;
    return false;
}

/* Takes the fields in order; false when they are not as many as needed. */
static bool map_by_position(struct tr_reader *r, const struct tr_texts *names,
                            const struct tr_csv_options *options)
{
    int64_t n = 0;
    for (int f = 0; f < names->n; f++)
        n += !is_ignored(options, names->text[f]);
    if (n != r->n_elements)
        return false;
    int field = 0;
    int64_t element = 0;
    for (int c = 0; c < r->n_columns; c++)
        for (int64_t i = 0; i < r->columns[c].n_elements; i++) {
            while (is_ignored(options, names->text[field]))
                field++;
            r->feed[field++] = (struct feed){element++, c};
        }
    return true;
}

/* The field named as element i of the column is; -1 with its name in `room`
 * when there is none. */
static int find_field(const struct tr_texts *names,
                      const struct ir_column *column, int64_t i,
                      struct ir_text *room)
{
    room->length = 0;
    ir_text_puts(room, column->name);
    if (column->kind == IR_TENSOR_COLUMN)
        ir_text_printf(room, "[%lld]", (long long)i);
    return tr_texts_find(names, room->data, room->length);
}

static bool map_by_name(struct tr_reader *r, const struct tr_texts *names,
                        struct ir_text *room)
{
    int64_t element = 0;
    for (int c = 0; c < r->n_columns; c++)
        for (int64_t i = 0; i < r->columns[c].n_elements; i++) {
            const int field = find_field(names, &r->columns[c], i, room);
            if (field < 0)
                return false;
            r->feed[field] = (struct feed){element++, c};
        }
    return true;
}

/* What is to be passed over is in the file. */
static bool find_ignored(const struct tr_reader *r,
                         const struct tr_texts *names,
                         const struct tr_csv_options *options,
                         struct ir_diag *diag)
{
    for (int i = 0; i < options->n_ignore; i++) {
        const char *name = options->ignore[i];
        if (tr_texts_find(names, name, strlen(name)) >= 0)
            continue;
        tr_csv_no_column(&r->csv, names, name, "to ignore", diag);
        return tr_csv_blame(options, TR_FAULT_IGNORE);
    }
    return true;
}

/* And it is not what the model takes by its name. */
static bool check_ignored(const struct tr_reader *r,
                          const struct tr_texts *names,
                          const struct tr_csv_options *options,
                          struct ir_diag *diag)
{
    for (int f = 0; f < r->width; f++)
        if (r->feed[f].element >= 0 && is_ignored(options, names->text[f])) {
            ir_error(diag, tr_csv_loc(&r->csv, f), "column \"%s\", to ignore, "
                     "is one that the model takes", names->text[f]);
            return tr_csv_blame(options, TR_FAULT_IGNORE);
        }
    return true;
}

static bool map_fields(struct tr_reader *r, const struct tr_texts *names,
                       const struct tr_csv_options *options, bool has_header,
                       struct ir_diag *diag)
{
    r->width = names->n;
    r->feed = ir_realloc_array(NULL, (size_t)r->width, sizeof(*r->feed));
    for (int f = 0; f < r->width; f++)
        r->feed[f] = (struct feed){-1, -1};
    if (!find_ignored(r, names, options, diag))
        return false;
    if (!has_header && map_by_position(r, names, options))
        return true;
    struct ir_text missing;
    ir_text_init(&missing);
    bool good = map_by_name(r, names, &missing);
    if (!good && has_header)
        tr_csv_no_column(&r->csv, names, missing.data, NULL, diag);
    else if (!good)
        ir_error(diag, tr_csv_loc(&r->csv, 0),
                 "rows have %d fields without names (the model takes %lld)",
                 r->width, (long long)r->n_elements);
    ir_text_release(&missing);
    if (!good)
        return tr_csv_blame(options, TR_FAULT_COLUMNS);
    return check_ignored(r, names, options, diag);
}

/* ---------------------------------------------------------------- open -- */

/* Takes the file over. */
static struct tr_reader *open_bytes(struct ir_file *file, const void *bytes,
                                    size_t size, const char *name,
                                    const struct tr_csv_options *options,
                                    int n_columns,
                                    const struct ir_column *columns,
                                    struct ir_diag *diag)
{
    static const struct tr_csv_options usual = {0};
    struct tr_reader *r = ir_realloc_array(NULL, 1, sizeof(*r));
    *r = (struct tr_reader){.n_columns = n_columns, .columns = columns};
    if (file)
        r->file = *file;
    options = options ? options : &usual;
    tr_csv_init(&r->csv, bytes, size, name, options);
    r->table =
        ir_realloc_array(NULL, (size_t)n_columns + 1, sizeof(*r->table));
    memset(r->table, 0, ((size_t)n_columns + 1) * sizeof(*r->table));
    for (int c = 0; c < n_columns; c++) {
        r->n_elements += columns[c].n_elements;
        table_init(&r->table[c], &columns[c]);
    }
    struct tr_texts names;
    bool has_header;
    tr_texts_init(&names);
    const bool good =
        tr_csv_header(&r->csv, options, &names, &has_header, diag) &&
        map_fields(r, &names, options, has_header, diag);
    tr_texts_release(&names);
    if (good)
        return r;
    tr_reader_close(r);
    return NULL;
}

struct tr_reader *tr_reader_open_bytes(const void *bytes, size_t size,
                                       const char *name,
                                       const struct tr_csv_options *options,
                                       int n_columns,
                                       const struct ir_column *columns,
                                       struct ir_diag *diag)
{
    return open_bytes(NULL, bytes, size, name, options, n_columns, columns,
                      diag);
}

struct tr_reader *tr_reader_open(const char *path,
                                 const struct tr_csv_options *options,
                                 int n_columns,
                                 const struct ir_column *columns,
                                 struct ir_diag *diag)
{
    struct ir_file file;
    if (!ir_file_open(&file, path, diag))
        return NULL;
    return open_bytes(&file, file.data, file.size, path, options, n_columns,
                      columns, diag);
}

void tr_reader_close(struct tr_reader *reader)
{
    if (!reader)
        return;
    for (int c = 0; c < reader->n_columns; c++) {
        tr_texts_release(&reader->table[c].names);
        free(reader->table[c].code);
    }
    tr_csv_release(&reader->csv);
    ir_file_close(&reader->file);
    free(reader->table);
    free(reader->feed);
    free(reader);
}

/* ---------------------------------------------------------------- read -- */

static bool read_category(struct tr_reader *r, int field, double *value)
{
    const int column = r->feed[field].column;
    const struct table *table = &r->table[column];
    size_t n;
    const char *text = tr_csv_text(&r->csv, field, &n);
    const int i = tr_texts_find(&table->names, text, n);
    *value = i < 0 ? r->columns[column].n_categories : table->code[i];
    return true;
}

static bool read_value(struct tr_reader *r, int field, double *value,
                       struct ir_diag *diag)
{
    const struct ir_column *column = &r->columns[r->feed[field].column];
    if (tr_csv_is_missing(&r->csv, field)) {
        *value = NAN;
        return true;
    }
    if (column->kind == IR_CATEGORY && column->n_categories > 0)
        return read_category(r, field, value);
    if (tr_csv_number(&r->csv, field, value))
        return true;
    size_t n;
    const char *text = tr_csv_text(&r->csv, field, &n);
    return ir_error(diag, tr_csv_loc(&r->csv, field),
                    "\"%.*s\" is no number (column \"%s\")",
                    n < 64 ? (int)n : 64, text, column->name);
}

int64_t tr_reader_elements(const struct tr_reader *reader)
{
    return reader->n_elements;
}

int64_t tr_reader_next(struct tr_reader *reader, double *rows,
                       int64_t max_rows, struct ir_diag *diag)
{
    for (int64_t n = 0; n < max_rows; n++) {
        const int got = tr_csv_next(&reader->csv, diag);
        if (got <= 0)
            return got < 0 ? -1 : n;
        if (!tr_csv_check_width(&reader->csv, reader->width, diag))
            return -1;
        double *row = rows + n * reader->n_elements;
        for (int f = 0; f < reader->width; f++) {
            const int64_t element = reader->feed[f].element;
            if (element >= 0 && !read_value(reader, f, row + element, diag))
                return -1;
        }
    }
    return max_rows;
}

void tr_reader_progress(const struct tr_reader *reader, uint64_t *done,
                        uint64_t *total)
{
    *done = (uint64_t)(reader->csv.at - reader->csv.begin);
    *total = (uint64_t)(reader->csv.end - reader->csv.begin);
}
