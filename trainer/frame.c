/* frame.c: a whole CSV file -> typed columns in memory.
 *
 * Without a schema a file is read once for numbers, into columns that become
 * categories when a text turns up that is no number; and a second time, for
 * the texts of those columns alone. With a schema the reader does all.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A frame in the making. */
struct build {
    struct tr_csv csv;
    const struct tr_csv_options *options;
    int width; /* fields of each row */
    struct tr_texts names;
    int *column_of;    /* [width] the frame's column, or -1: ignored */
    bool *is_category; /* [width] */
    bool *is_named;    /* [width] said to be so */
    bool *is_number;   /* [width] said to be numbers */
    struct tr_mixed *mixed; /* [width] of those that nobody named */
    int64_t capacity;  /* rows that the columns have room for */
    struct tr_frame *frame;
};

static void *zeros(size_t n, size_t size)
{
    void *memory = ir_realloc_array(NULL, n ? n : 1, size);
    memset(memory, 0, (n ? n : 1) * size);
    return memory;
}

void tr_frame_release(struct tr_frame *frame)
{
    for (int c = 0; c < frame->n_columns; c++)
        free(frame->values[c]);
    free(frame->values);
    ir_arena_release(&frame->arena);
    *frame = (struct tr_frame){0};
}

int tr_frame_find(const struct tr_frame *frame, const char *name)
{
    for (int c = 0; c < frame->n_columns; c++)
        if (!strcmp(frame->columns[c].name, name))
            return c;
    return -1;
}

static void allocate_columns(struct tr_frame *frame, int n)
{
    ir_arena_init(&frame->arena);
    frame->n_columns = n;
    frame->columns =
        ir_alloc_array(&frame->arena, (size_t)n + 1, sizeof(*frame->columns));
    frame->values = zeros((size_t)n, sizeof(*frame->values));
}

static void reserve_rows(struct tr_frame *frame, int64_t capacity)
{
    for (int c = 0; c < frame->n_columns; c++)
        frame->values[c] = ir_realloc_array(
            frame->values[c], (size_t)capacity, sizeof(double));
}

static void copy_columns(struct tr_frame *frame,
                         const struct ir_column *columns)
{
    for (int c = 0; c < frame->n_columns; c++) {
        struct ir_column *column = &frame->columns[c];
        *column = columns[c];
        column->name = ir_strdup(&frame->arena, columns[c].name);
        column->categories =
            ir_alloc_array(&frame->arena, (size_t)column->n_categories + 1,
                           sizeof(*column->categories));
        for (int i = 0; i < column->n_categories; i++)
            column->categories[i] =
                ir_strdup(&frame->arena, columns[c].categories[i]);
    }
}

void tr_frame_take(struct tr_frame *frame, const struct tr_frame *from,
                   int64_t n_rows, const int64_t *rows)
{
    *frame = (struct tr_frame){.n_rows = n_rows};
    allocate_columns(frame, from->n_columns);
    copy_columns(frame, from->columns);
    memcpy(frame->sha256, from->sha256, sizeof(frame->sha256));
    reserve_rows(frame, n_rows + 1);
    for (int c = 0; c < frame->n_columns; c++)
        for (int64_t i = 0; i < n_rows; i++)
            frame->values[c][i] = from->values[c][rows[i]];
}

/* ---------------------------------------------------------- by a schema -- */

static bool read_blocks(struct tr_frame *frame, struct tr_reader *reader,
                        struct ir_diag *diag)
{
    enum { BLOCK = 256 };
    const int width = frame->n_columns;
    double *rows =
        ir_realloc_array(NULL, (size_t)width * BLOCK + 1, sizeof(double));
    int64_t capacity = 0, n;
    while ((n = tr_reader_next(reader, rows, BLOCK, diag)) > 0) {
        if (frame->n_rows + n > capacity) {
            capacity = capacity + capacity / 2 + BLOCK;
            reserve_rows(frame, capacity);
        }
        for (int c = 0; c < width; c++)
            for (int64_t i = 0; i < n; i++)
                frame->values[c][frame->n_rows + i] = rows[i * width + c];
        frame->n_rows += n;
    }
    free(rows);
    return n == 0;
}

static bool parse_schema(struct tr_frame *frame, const void *bytes,
                         size_t size, const char *name,
                         const struct tr_csv_options *options, int n_schema,
                         const struct ir_column *schema, struct ir_diag *diag)
{
    struct tr_reader *reader = tr_reader_open_bytes(
        bytes, size, name, options, n_schema, schema, diag);
    if (!reader)
        return false;
    if (tr_reader_elements(reader) != n_schema)
        ir_bug("a frame's column has one element");
    allocate_columns(frame, n_schema);
    copy_columns(frame, schema);
    bool good = read_blocks(frame, reader, diag);
    if (good && frame->n_rows == 0)
        good = ir_error(diag, ir_loc_file(name),
                        "the file has no rows but its header");
    tr_reader_close(reader);
    if (!good)
        tr_frame_release(frame);
    return good;
}

/* ---------------------------------------------------------- first pass -- */

/* A name that no column has is a slip of the user's. */
static bool find_names(const struct build *b, enum tr_csv_fault fault,
                       const char *what, int n, const char *const *names,
                       bool *found, struct ir_diag *diag)
{
    for (int i = 0; i < n; i++) {
        const int field = tr_texts_find(&b->names, names[i], strlen(names[i]));
        if (field < 0) {
            tr_csv_no_column(&b->csv, &b->names, names[i], what, diag);
            return tr_csv_blame(b->options, fault);
        }
        found[field] = true;
    }
    return true;
}

static bool choose_columns(struct build *b, struct ir_diag *diag)
{
    const struct tr_csv_options *o = b->options;
    bool *ignored = zeros((size_t)b->width, sizeof(bool));
    const bool good =
        find_names(b, TR_FAULT_IGNORE, "to ignore", o->n_ignore, o->ignore,
                   ignored, diag) &&
        find_names(b, TR_FAULT_CATEGORY, "of categories", o->n_category,
                   o->category, b->is_named, diag) &&
        find_names(b, TR_FAULT_NUMBER, "of numbers", o->n_number, o->number,
                   b->is_number, diag);
    int n = 0, both = -1;
    for (int f = 0; f < b->width; f++) {
        b->column_of[f] = ignored[f] ? -1 : n++;
        b->is_category[f] = b->is_named[f];
        both = b->is_named[f] && b->is_number[f] ? f : both;
    }
    free(ignored);
    if (!good)
        return false;
    if (both >= 0) {
        ir_error(diag, tr_csv_loc(&b->csv, both),
                 "column \"%s\" is said to be of numbers and of categories",
                 b->names.text[both]);
        return tr_csv_blame(o, TR_FAULT_NUMBER);
    }
    allocate_columns(b->frame, n);
    for (int f = 0; f < b->width; f++)
        if (b->column_of[f] >= 0)
            b->frame->columns[b->column_of[f]] = (struct ir_column){
                .name = ir_strdup(&b->frame->arena, b->names.text[f]),
                .kind = IR_NUMBER, .n_elements = 1};
    return true;
}

/* Room for all rows if they are as long as the first one. As a row has at
 * least as many bytes as fields, that is never above 8 bytes a byte. */
static void make_room(struct build *b)
{
    const int64_t row = b->csv.at - b->csv.row;
    if (b->frame->n_rows == 0)
        b->capacity = (b->csv.end - b->csv.row) / row + 2;
    else
        b->capacity += b->capacity / 2;
    reserve_rows(b->frame, b->capacity);
}

/* Bytes of a text that a message shows. */
#define MAX_SHOWN 64

static bool no_number(struct build *b, int field, struct ir_diag *diag)
{
    size_t n;
    const char *text = tr_csv_text(&b->csv, field, &n);
    return ir_error(diag, tr_csv_loc(&b->csv, field),
                    "\"%.*s\" is no number (column \"%s\")",
                    n < MAX_SHOWN ? (int)n : MAX_SHOWN, text,
                    b->names.text[field]);
}

static bool take_numbers(struct build *b, struct ir_diag *diag)
{
    const int64_t row = b->frame->n_rows;
    for (int f = 0; f < b->width; f++) {
        if (b->column_of[f] < 0 || b->is_category[f])
            continue;
        double value;
        if (tr_csv_is_missing(&b->csv, f))
            value = NAN;
        else if (tr_csv_number(&b->csv, f, &value))
            value += 0.0; /* -0 is 0 */
        else if (b->is_number[f])
            return no_number(b, f, diag);
        else
            b->is_category[f] = true;
        if (!b->is_category[f])
            b->frame->values[b->column_of[f]][row] = value;
    }
    return true;
}

static bool read_numbers(struct build *b, struct ir_diag *diag)
{
    int got;
    while ((got = tr_csv_next(&b->csv, diag)) > 0) {
        if (!tr_csv_check_width(&b->csv, b->width, diag))
            return false;
        if (b->frame->n_rows == b->capacity)
            make_room(b);
        if (!take_numbers(b, diag))
            return false;
        b->frame->n_rows++;
    }
    if (got == 0 && b->frame->n_rows == 0)
        return ir_error(diag, ir_loc_file(b->csv.name),
                        "the file has no rows but its header");
    if (got == 0 && b->frame->n_rows < b->capacity)
        reserve_rows(b->frame, b->frame->n_rows);
    return got == 0;
}

/* --------------------------------------------------------- second pass -- */

/* Most values are numbers, and nobody said that they are categories. */
static bool is_mixed(const struct build *b, int field)
{
    const struct tr_mixed *m = &b->mixed[field];
    return m->n_texts > 0 && m->n_numbers >= m->n_texts;
}

static void count_kind(struct build *b, int field)
{
    struct tr_mixed *m = &b->mixed[field];
    double value;
    if (b->is_named[field])
        return;
    if (tr_csv_number(&b->csv, field, &value)) {
        m->n_numbers++;
        return;
    }
    if (m->n_texts++ > 0)
        return;
    size_t n;
    const char *text = tr_csv_text(&b->csv, field, &n);
    m->column = b->column_of[field];
    m->first = tr_csv_loc(&b->csv, field);
    m->text = ir_strndup(&b->frame->arena, text,
                         n < MAX_SHOWN ? n : MAX_SHOWN);
}

static bool too_many(const struct build *b, int field, struct ir_diag *diag)
{
    const char *name = b->names.text[field];
    const struct tr_mixed *m = &b->mixed[field];
    if (is_mixed(b, field))
        return ir_error(diag, m->first,
                        "column \"%s\" has more than %d different values, "
                        "which are no numbers because of \"%s\" here",
                        name, TR_MAX_CATEGORIES, m->text);
    return ir_error(diag, tr_csv_loc(&b->csv, field),
                    "column \"%s\" has more than %d different texts: it is no "
                    "category (ignore it)", name, TR_MAX_CATEGORIES);
}

static bool take_category(struct build *b, int field, struct tr_texts *texts,
                          double *value, struct ir_diag *diag)
{
    if (tr_csv_is_missing(&b->csv, field)) {
        *value = NAN;
        return true;
    }
    size_t n;
    const char *text = tr_csv_text(&b->csv, field, &n);
    const char *name = b->names.text[field];
    if (n > IR_MAX_NAME)
        return ir_error(diag, tr_csv_loc(&b->csv, field),
                        "a category of column \"%s\" has %zu bytes (the limit "
                        "is %d)", name, n, IR_MAX_NAME);
    *value = tr_texts_add(texts, text, n);
    count_kind(b, field);
    return texts->n <= TR_MAX_CATEGORIES || too_many(b, field, diag);
}

static bool read_categories(struct build *b, struct tr_texts *texts,
                            struct ir_diag *diag)
{
    for (int64_t row = 0; tr_csv_next(&b->csv, diag) > 0; row++)
        for (int f = 0; f < b->width; f++) {
            const int c = b->column_of[f];
            if (c >= 0 && b->is_category[f] &&
                !take_category(b, f, &texts[c], &b->frame->values[c][row],
                               diag))
                return false;
        }
    return true;
}

/* A text and the code it had by order of appearance. */
struct named {
    const char *name;
    int code;
};

static int by_bytes(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name,
                  ((const struct named *)b)->name);
}

/* Gives the column its table, in the order of bytes, and renumbers. */
static void set_table(struct tr_frame *frame, int c,
                      const struct tr_texts *texts)
{
    const size_t n = (size_t)texts->n;
    struct ir_column *column = &frame->columns[c];
    struct named *sorted = zeros(n, sizeof(*sorted));
    int *code = zeros(n, sizeof(*code));
    for (size_t i = 0; i < n; i++)
        sorted[i] = (struct named){texts->text[i], (int)i};
    qsort(sorted, n, sizeof(*sorted), by_bytes);
    column->kind = IR_CATEGORY;
    column->n_categories = (int)n;
    column->categories =
        ir_alloc_array(&frame->arena, n, sizeof(*column->categories));
    for (size_t i = 0; i < n; i++) {
        column->categories[i] = ir_strdup(&frame->arena, sorted[i].name);
        code[sorted[i].code] = (int)i;
    }
    for (int64_t row = 0; row < frame->n_rows; row++) {
        double *v = &frame->values[c][row];
        *v = isnan(*v) ? *v : code[(int)*v];
    }
    free(sorted);
    free(code);
}

static bool add_categories(struct build *b, struct ir_diag *diag)
{
    bool any = false;
    for (int f = 0; f < b->width; f++)
        any |= b->is_category[f] && b->column_of[f] >= 0;
    if (!any)
        return true;
    struct tr_frame *frame = b->frame;
    const size_t n = (size_t)frame->n_columns;
    struct tr_texts *texts = zeros(n, sizeof(*texts));
    const bool good = read_categories(b, texts, diag);
    for (int c = 0; c < frame->n_columns; c++) {
        /* Without a single text the column stays one of missing numbers. */
        if (good && texts[c].n > 0)
            set_table(frame, c, &texts[c]);
        tr_texts_release(&texts[c]);
    }
    free(texts);
    return good;
}

static void list_mixed(struct build *b)
{
    struct tr_frame *frame = b->frame;
    frame->mixed = ir_alloc_array(&frame->arena, (size_t)b->width,
                                  sizeof(*frame->mixed));
    for (int f = 0; f < b->width; f++)
        if (is_mixed(b, f))
            frame->mixed[frame->n_mixed++] = b->mixed[f];
}

/* --------------------------------------------------------------- parse -- */

static bool infer(struct build *b, struct ir_diag *diag)
{
    bool has_header;
    if (!tr_csv_header(&b->csv, b->options, &b->names, &has_header, diag))
        return false;
    b->width = b->names.n;
    b->column_of = zeros((size_t)b->width, sizeof(int));
    b->is_category = zeros((size_t)b->width, sizeof(bool));
    b->is_named = zeros((size_t)b->width, sizeof(bool));
    b->is_number = zeros((size_t)b->width, sizeof(bool));
    b->mixed = zeros((size_t)b->width, sizeof(*b->mixed));
    if (!choose_columns(b, diag))
        return false;
    const char *first = b->csv.at;
    const uint64_t line = b->csv.line;
    if (read_numbers(b, diag)) {
        b->csv.at = first;
        b->csv.line = line;
        if (add_categories(b, diag)) {
            list_mixed(b);
            return true;
        }
    }
    tr_frame_release(b->frame);
    return false;
}

bool tr_frame_parse(struct tr_frame *frame, const void *bytes, size_t size,
                    const char *name, const struct tr_csv_options *options,
                    int n_schema, const struct ir_column *schema,
                    struct ir_diag *diag)
{
    static const struct tr_csv_options usual = {0};
    struct build b = {.frame = frame, .options = options ? options : &usual};
    *frame = (struct tr_frame){0};
    bool good;
    if (schema) {
        good = parse_schema(frame, bytes, size, name, b.options, n_schema,
                            schema, diag);
    } else {
        tr_csv_init(&b.csv, bytes, size, name, b.options);
        tr_texts_init(&b.names);
        good = infer(&b, diag);
        tr_texts_release(&b.names);
        tr_csv_release(&b.csv);
        free(b.column_of);
        free(b.is_category);
        free(b.is_named);
        free(b.is_number);
        free(b.mixed);
    }
    if (good)
        ir_sha256(bytes, size, frame->sha256);
    return good;
}

bool tr_frame_read(struct tr_frame *frame, const char *path,
                   const struct tr_csv_options *options, int n_schema,
                   const struct ir_column *schema, struct ir_diag *diag)
{
    struct ir_file file;
    if (!ir_file_open(&file, path, diag))
        return false;
    const bool good = tr_frame_parse(frame, file.data, file.size, path,
                                     options, n_schema, schema, diag);
    ir_file_close(&file);
    return good;
}

/* ---------------------------------------------------------------- places -- */

struct ir_loc tr_frame_place(const char *path,
                             const struct tr_csv_options *options,
                             int64_t row, const char *column)
{
    struct ir_loc place = ir_loc_file(path);
    struct ir_diag diag;
    struct ir_file file;
    struct tr_csv csv;
    struct tr_texts names;
    bool has_header;
    ir_diag_init(&diag);
    if (ir_file_open(&file, path, &diag)) {
        tr_csv_init(&csv, file.data, file.size, path, options);
        tr_texts_init(&names);
        int got = tr_csv_header(&csv, options, &names, &has_header, &diag);
        for (int64_t r = 0; r <= row && got > 0; r++)
            got = tr_csv_next(&csv, &diag);
        const int field = tr_texts_find(&names, column, strlen(column));
        if (got > 0 && field >= 0)
            place = tr_csv_loc(&csv, field);
        tr_texts_release(&names);
        tr_csv_release(&csv);
        ir_file_close(&file);
    }
    ir_diag_release(&diag);
    return place;
}
