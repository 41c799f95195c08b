/* lines.c: walks through a text file by line and word, without copying, and
 * knows where everything stands. It does not know any format, and does not
 * need a NUL at the end.
 */
#include "frontend/internal.h"

#include <string.h>

void fe_reader_init(struct fe_reader *reader, const struct ir_file *file,
                    const char *path)
{
    /* An empty file may have no address; pointer arithmetic wants one. */
    const char *data = file->size ? (const char *)file->data : "";
    *reader = (struct fe_reader){
        .path = path, .next = data, .end = data + file->size, .line = 1};
}

bool fe_peek_line(const struct fe_reader *reader, struct fe_span *line)
{
    const char *p = reader->next;
    if (p == reader->end)
        return false;
    const char *end = memchr(p, '\n', (size_t)(reader->end - p));
    if (!end)
        end = reader->end;
    if (end > p && end[-1] == '\r')
        end--;
    *line = (struct fe_span){p, end, p, reader->line};
    return true;
}

bool fe_next_line(struct fe_reader *reader, struct fe_span *line)
{
    if (!fe_peek_line(reader, line))
        return false;
    const char *p = line->end;
    if (p < reader->end && *p == '\r')
        p++;
    if (p < reader->end)
        p++; /* the '\n' */
    reader->next = p;
    reader->line++;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

bool fe_next_word(struct fe_span *rest, struct fe_span *word)
{
    const char *p = rest->begin, *end = rest->end;
    while (p < end && is_blank(*p))
        p++;
    *word = *rest;
    word->begin = p;
    while (p < end && !is_blank(*p))
        p++;
    word->end = rest->begin = p;
    return word->begin < p;
}

int64_t fe_count_words(struct fe_span rest)
{
    int64_t n = 0;
    struct fe_span word;
    while (fe_next_word(&rest, &word))
        n++;
    return n;
}

struct fe_span fe_split(struct fe_span *rest, char c)
{
    struct fe_span head = *rest;
    const size_t n = (size_t)(rest->end - rest->begin);
    const char *at = n ? memchr(rest->begin, c, n) : NULL;
    head.end = at ? at : rest->end;
    rest->begin = at ? at + 1 : rest->end;
    return head;
}

bool fe_is(const struct fe_span *span, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(span->end - span->begin) == n &&
           memcmp(span->begin, text, n) == 0;
}

bool fe_starts_with(const struct fe_span *span, const char *text)
{
    const size_t n = strlen(text);
    return (size_t)(span->end - span->begin) >= n &&
           memcmp(span->begin, text, n) == 0;
}

bool fe_read_int(const struct fe_span *span, int64_t *value)
{
    return ir_parse_int(span->begin, span->end, value);
}

bool fe_read_double(const struct fe_span *span, double *value)
{
    return ir_parse_double(span->begin, span->end, value);
}

bool fe_error_at(struct ir_diag *diag, const struct fe_reader *reader,
                 const struct fe_span *at, const char *fmt, ...)
{
    const uint64_t column =
        at->line_begin ? (uint64_t)(at->begin - at->line_begin) + 1 : 0;
    va_list args;
    va_start(args, fmt);
    ir_verror(diag,
              ir_loc_line(reader->path, at->line,
                          column < UINT32_MAX ? (uint32_t)column : 0),
              fmt, args);
    va_end(args);
    return false;
}

int fe_shown(const struct fe_span *span)
{
    const ptrdiff_t n = span->end - span->begin;
    return n < 60 ? (int)n : 60;
}
