/* diag.c: messages about bad input, each with its place. */
#include "ir/ir.h"

#include <string.h>

void ir_diag_init(struct ir_diag *diag)
{
    *diag = (struct ir_diag){0};
    ir_arena_init(&diag->arena);
}

void ir_diag_release(struct ir_diag *diag)
{
    ir_arena_release(&diag->arena);
    *diag = (struct ir_diag){0};
}

/* What came from a file may hold anything: a terminal must not obey it. */
static void append_escaped(struct ir_text *text, const char *s)
{
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if (c >= ' ' && c < 0x7f)
            ir_text_append(text, s, 1);
        else
            ir_text_printf(text, "\\x%02x", c);
    }
}

static void append_location(struct ir_text *text, struct ir_loc loc)
{
    if (!loc.file)
        return;
    append_escaped(text, loc.file);
    if (loc.line && loc.column)
        ir_text_printf(text, ":%u:%u", loc.line, loc.column);
    else if (loc.line)
        ir_text_printf(text, ":%u", loc.line);
    else if (loc.offset != IR_NO_OFFSET)
        ir_text_printf(text, ":+%llu", (unsigned long long)loc.offset);
    ir_text_puts(text, ": ");
}

static void keep(struct ir_diag *diag, const char *message)
{
    if (diag->n_messages == IR_MAX_MESSAGES) {
        diag->n_dropped++;
        return;
    }
    if (!diag->message)
        diag->message = ir_alloc_array(&diag->arena, IR_MAX_MESSAGES,
                                       sizeof(*diag->message));
    diag->message[diag->n_messages++] = ir_strdup(&diag->arena, message);
}

bool ir_verror(struct ir_diag *diag, struct ir_loc loc, const char *fmt,
               va_list args)
{
    char said[1024];
    struct ir_text text;
    ir_text_init(&text);
    append_location(&text, loc);
    vsnprintf(said, sizeof(said), fmt, args);
    append_escaped(&text, said);
    keep(diag, text.data);
    ir_text_release(&text);
    return false;
}

bool ir_error(struct ir_diag *diag, struct ir_loc loc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    ir_verror(diag, loc, fmt, args);
    va_end(args);
    return false;
}

/* The verifier knows the place of an op, not of a name. */
void ir_diag_add(struct ir_diag *diag, const struct ir_diag *said,
                 const char *file)
{
    struct ir_text text;
    ir_text_init(&text);
    for (unsigned i = 0; i < said->n_messages; i++) {
        text.length = 0;
        append_location(&text, ir_loc_file(file));
        const size_t n = text.length - 2; /* without the colon */
        const char *message = said->message[i];
        if (!strncmp(message, text.data, n) &&
            (message[n] == ':' || message[n] == '[')) /* a part of the file */
            text.length = 0;
        ir_text_puts(&text, said->message[i]);
        keep(diag, text.data);
    }
    diag->n_dropped += said->n_dropped;
    ir_text_release(&text);
}

void ir_diag_print(const struct ir_diag *diag, FILE *to)
{
    for (unsigned i = 0; i < diag->n_messages; i++)
        fprintf(to, "%s\n", diag->message[i]);
    if (diag->n_dropped)
        fprintf(to, "... and %u more\n", diag->n_dropped);
}
