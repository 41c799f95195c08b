/* csv.c: bytes -> rows of fields, by the rules that trainer.h states.
 *
 * Fields point into the file; nothing is copied but a quoted text that holds
 * doubled quotes, and that only when it is asked for. A quote opens a quoted
 * field only as the field's first byte; within an unquoted field it stands for
 * itself. What the fields mean is decided in reader.c and frame.c.
 */
#include "trainer/private.h"

#include <stdlib.h>
#include <string.h>

const char *const tr_csv_missing[] = {
    "",    "NA",  "N/A",  "n/a",  "#N/A", "<NA>", "NaN", "nan",
    "-nan", "-NaN", "NULL", "Null", "null", "None", "?"};
const int tr_csv_n_missing =
    (int)(sizeof(tr_csv_missing) / sizeof(tr_csv_missing[0]));

/* ------------------------------------------------------ the delimiter -- */

/* How often a candidate parts fields. */
struct count {
    int64_t first;   /* in the first row */
    bool consistent; /* as often in every row, and at least once */
};

/* Looks at few rows only: `sample` ends them, `end` is the file's end. A last
 * row that the sample cuts off counts for nothing. */
static struct count count_delimiter(const char *p, const char *sample,
                                    const char *end, char delimiter)
{
    struct count count = {.first = -1, .consistent = true};
    int64_t n = 0;
    bool quoted = false, at_start = true, empty = true;
    for (; p <= sample; p++) {
        const char c = p < sample ? *p : '\n';
        if (p == sample && (sample != end && count.first >= 0))
            break;
        if (quoted && p < sample) {
            quoted = c != '"';
        } else if (c == '"' && at_start) {
            quoted = true;
            empty = at_start = false;
        } else if (c == '\n') {
            if (!empty) {
                count.first = count.first < 0 ? n : count.first;
                count.consistent &= n == count.first && n > 0;
            }
            n = 0;
            at_start = empty = true;
        } else if (c == delimiter) {
            n++;
            empty = false;
            at_start = true;
        } else if (c != ' ' && c != '\t' && c != '\r') {
            empty = at_start = false;
        }
    }
    count.first = count.first < 0 ? 0 : count.first;
    return count;
}

/* The candidate that parts each row into as many fields; else the one that
 * parts the first row the most. Tabs and semicolons go first, for they are
 * rare in text, whereas a comma may be a decimal one. */
static char detect_delimiter(const char *begin, const char *end)
{
    static const char candidates[] = {'\t', ';', ','};
    const size_t most = 256 * 1024;
    const char *sample = (size_t)(end - begin) > most ? begin + most : end;
    char best = ',';
    int64_t best_count = 0;
    for (int i = 0; i < 3; i++) {
        const struct count count =
            count_delimiter(begin, sample, end, candidates[i]);
        if (count.consistent && count.first > 0)
            return candidates[i];
        if (count.first >= best_count && count.first > 0) {
            best = candidates[i];
            best_count = count.first;
        }
    }
    return best;
}

/* --------------------------------------------------------------- start -- */

static void set_missing(struct tr_csv *csv,
                        const struct tr_csv_options *options)
{
    csv->missing = options->missing ? options->missing : tr_csv_missing;
    csv->n_missing = options->missing ? options->n_missing : tr_csv_n_missing;
    for (int i = 0; i < csv->n_missing; i++) {
        const uint8_t first = (uint8_t)csv->missing[i][0];
        csv->missing_first[first] = first != 0;
        csv->missing_empty |= first == 0;
    }
}

void tr_csv_init(struct tr_csv *csv, const void *bytes, size_t size,
                 const char *name, const struct tr_csv_options *options)
{
    const char *begin = bytes;
    *csv = (struct tr_csv){.name = name, .begin = begin, .end = begin + size,
                           .line = 1};
    if (size >= 3 && !memcmp(begin, "\xef\xbb\xbf", 3))
        begin += 3;
    csv->at = csv->row = begin;
    csv->row_line = 1;
    csv->delimiter = options->delimiter ? options->delimiter
                                        : detect_delimiter(begin, csv->end);
    csv->stop['\0'] = csv->stop['\n'] = csv->stop['\r'] = 1;
    csv->stop[(uint8_t)csv->delimiter] = 1;
    ir_text_init(&csv->room);
    set_missing(csv, options);
}

void tr_csv_release(struct tr_csv *csv)
{
    free(csv->field);
    ir_text_release(&csv->room);
}

/* -------------------------------------------------------------- places -- */

/* A byte of the last row. Only quoted fields hold line ends. */
static struct ir_loc loc_at(const struct tr_csv *csv, const char *at)
{
    uint64_t line = csv->row_line;
    const char *start = csv->row;
    for (const char *p = csv->row; p < at; p++)
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    const uint64_t column = (uint64_t)(at - start) + 1;
    return ir_loc_line(csv->name, line < UINT32_MAX ? (uint32_t)line : 0,
                       column < UINT32_MAX ? (uint32_t)column : 0);
}

struct ir_loc tr_csv_loc(const struct tr_csv *csv, int field)
{
    if (csv->n_fields == 0)
        return loc_at(csv, csv->row);
    if (field < csv->n_fields)
        return loc_at(csv, csv->field[field].begin);
    return loc_at(csv, csv->field[csv->n_fields - 1].end);
}

/* -------------------------------------------------------------- fields -- */

static bool is_blank(const struct tr_csv *csv, char c)
{
    return (c == ' ' || c == '\t') && c != csv->delimiter;
}

static const char *skip_blanks(const struct tr_csv *csv, const char *p)
{
    while (p < csv->end && is_blank(csv, *p))
        p++;
    return p;
}

/* Bytes of the line end at p, 0 when there is none. */
static int line_end(const struct tr_csv *csv, const char *p)
{
    if (p < csv->end && *p == '\n')
        return 1;
    return csv->end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

static bool add_field(struct tr_csv *csv, const char *begin, const char *end,
                      bool doubled, struct ir_diag *diag)
{
    if (csv->n_fields == csv->capacity) {
        if (csv->capacity >= IR_MAX_COLUMNS)
            return ir_error(diag, loc_at(csv, begin),
                            "a row has more than %d fields", IR_MAX_COLUMNS);
        csv->capacity = csv->capacity ? 2 * csv->capacity : 32;
        csv->field = ir_realloc_array(csv->field, (size_t)csv->capacity,
                                      sizeof(*csv->field));
    }
    csv->field[csv->n_fields++] = (struct tr_field){begin, end, doubled};
    return true;
}

/* p is the byte after the opening quote. */
static bool read_quoted(struct tr_csv *csv, const char *p,
                        struct ir_diag *diag)
{
    const char *begin = p;
    bool doubled = false;
    for (;; p += 2, doubled = true) {
        p = memchr(p, '"', (size_t)(csv->end - p));
        if (!p)
            return ir_error(diag, loc_at(csv, begin - 1),
                            "this quote is never closed");
        if (csv->end - p < 2 || p[1] != '"')
            break;
    }
    for (const char *q = begin; q < p; q++) {
        if (*q == '\0')
            return ir_error(diag, loc_at(csv, q), "a NUL byte");
        csv->line += *q == '\n';
    }
    csv->at = skip_blanks(csv, p + 1);
    if (csv->at < csv->end && *csv->at != csv->delimiter &&
        !line_end(csv, csv->at))
        return ir_error(diag, loc_at(csv, csv->at),
                        "text after the closing quote (a quote within quotes "
                        "is written twice)");
    return add_field(csv, begin, p, doubled, diag);
}

/* Leaves csv->at at the delimiter or the line end that follows. */
static bool read_field(struct tr_csv *csv, struct ir_diag *diag)
{
    const char *p = skip_blanks(csv, csv->at);
    if (p < csv->end && *p == '"')
        return read_quoted(csv, p + 1, diag);
    const char *begin = p;
    while (p < csv->end && !csv->stop[(uint8_t)*p])
        p++;
    csv->at = p;
    if (p < csv->end && *p == '\0')
        return ir_error(diag, loc_at(csv, p), "a NUL byte");
    if (p < csv->end && *p == '\r' && *p != csv->delimiter &&
        !line_end(csv, p))
        return ir_error(diag, loc_at(csv, p),
                        "a carriage return without a line feed");
    while (p > begin && is_blank(csv, p[-1]))
        p--;
    return add_field(csv, begin, p, false, diag);
}

static void skip_empty_lines(struct tr_csv *csv)
{
    for (;;) {
        const char *p = skip_blanks(csv, csv->at);
        const int n = line_end(csv, p);
        if (n == 0) {
            csv->at = p == csv->end ? p : csv->at;
            return;
        }
        csv->at = p + n;
        csv->line++;
    }
}

int tr_csv_next(struct tr_csv *csv, struct ir_diag *diag)
{
    skip_empty_lines(csv);
    csv->n_fields = 0;
    csv->row = csv->at;
    csv->row_line = csv->line;
    if (csv->at == csv->end)
        return 0;
    for (;; csv->at++) {
        if (!read_field(csv, diag))
            return -1;
        if (csv->at == csv->end)
            return 1;
        const int n = line_end(csv, csv->at);
        if (n > 0) {
            csv->at += n;
            csv->line++;
            return 1;
        }
    }
}

/* ------------------------------------------------------ their contents -- */

const char *tr_csv_text(struct tr_csv *csv, int field, size_t *n)
{
    const struct tr_field *f = &csv->field[field];
    *n = (size_t)(f->end - f->begin);
    if (!f->doubled)
        return f->begin;
    csv->room.length = 0;
    for (const char *p = f->begin; p < f->end;) {
        const char *quote = memchr(p, '"', (size_t)(f->end - p));
        const char *stop = quote ? quote + 1 : f->end;
        ir_text_append(&csv->room, p, (size_t)(stop - p));
        p = quote ? quote + 2 : f->end;
    }
    *n = csv->room.length;
    return csv->room.data;
}

bool tr_csv_is_missing(struct tr_csv *csv, int field)
{
    const struct tr_field *f = &csv->field[field];
    if (f->begin == f->end)
        return csv->missing_empty;
    if (!csv->missing_first[(uint8_t)*f->begin])
        return false;
    size_t n;
    const char *text = tr_csv_text(csv, field, &n);
    for (int i = 0; i < csv->n_missing; i++)
        if (strlen(csv->missing[i]) == n && !memcmp(csv->missing[i], text, n))
            return true;
    return false;
}

bool tr_csv_number(const struct tr_csv *csv, int field, double *value)
{
    const struct tr_field *f = &csv->field[field];
    return ir_parse_double(f->begin, f->end, value);
}

bool tr_csv_check_width(const struct tr_csv *csv, int width,
                        struct ir_diag *diag)
{
    if (csv->n_fields == width)
        return true;
    return ir_error(diag, tr_csv_loc(csv, width),
                    "this row has %d field%s (the first one has %d)",
                    csv->n_fields, csv->n_fields == 1 ? "" : "s", width);
}

/* -------------------------------------------------------------- header -- */

/* A first row without any number. */
static bool looks_like_header(struct tr_csv *csv)
{
    double number;
    for (int i = 0; i < csv->n_fields; i++)
        if (!tr_csv_is_missing(csv, i) && tr_csv_number(csv, i, &number))
            return false;
    return true;
}

/* A field without a text is named by its position, as all are without a
 * header. */
static bool add_name(struct tr_csv *csv, int field, bool has_header,
                     struct tr_texts *names, struct ir_diag *diag)
{
    char position[16];
    size_t n = 0;
    const char *text = has_header ? tr_csv_text(csv, field, &n) : NULL;
    if (n == 0) {
        n = (size_t)snprintf(position, sizeof(position), "c%d", field + 1);
        text = position;
    }
    if (n > IR_MAX_NAME)
        return ir_error(diag, tr_csv_loc(csv, field),
                        "a column's name has %zu bytes (the limit is %d)", n,
                        IR_MAX_NAME);
    const int i = tr_texts_add(names, text, n);
    if (i == field)
        return true;
    return ir_error(diag, tr_csv_loc(csv, field),
                    "columns %d and %d are both named \"%s\"", i + 1,
                    field + 1, names->text[i]);
}

bool tr_csv_header(struct tr_csv *csv, const struct tr_csv_options *options,
                   struct tr_texts *names, bool *has_header,
                   struct ir_diag *diag)
{
    const size_t size = (size_t)(csv->end - csv->begin);
    if (size >= 2 && (!memcmp(csv->begin, "\xff\xfe", 2) ||
                      !memcmp(csv->begin, "\xfe\xff", 2)))
        return ir_error(diag, ir_loc_file(csv->name), "this is text in UTF-16: "
                        "save it as UTF-8");
    const int got = tr_csv_next(csv, diag);
    if (got == 0)
        return ir_error(diag, ir_loc_file(csv->name), "the file has no rows");
    if (got < 0)
        return false;
    *has_header = options->header == TR_HEADER_DETECT
                      ? looks_like_header(csv)
                      : options->header == TR_HEADER_YES;
    for (int i = 0; i < csv->n_fields; i++)
        if (!add_name(csv, i, *has_header, names, diag))
            return false;
    if (!*has_header) {
        csv->at = csv->row;
        csv->line = csv->row_line;
    }
    return true;
}

/* Names that a message lists. */
enum { max_listed = 8 };

bool tr_csv_no_column(const struct tr_csv *csv, const struct tr_texts *names,
                      const char *name, const char *what,
                      struct ir_diag *diag)
{
    struct ir_text list;
    ir_text_init(&list);
    for (int i = 0; i < names->n && i < max_listed; i++)
        ir_text_printf(&list, "%s%.40s", i ? ", " : "", names->text[i]);
    if (names->n > max_listed)
        ir_text_printf(&list, " and %d more", names->n - max_listed);
    ir_error(diag, tr_csv_loc(csv, 0),
             "there is no column named \"%s\"%s%s (there are: %s)", name,
             what ? ", " : "", what ? what : "", list.data);
    ir_text_release(&list);
    return false;
}

bool tr_csv_blame(const struct tr_csv_options *options,
                  enum tr_csv_fault fault)
{
    if (options->fault)
        *options->fault = fault;
    return false;
}
