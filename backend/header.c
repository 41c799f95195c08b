/* header.c: the C header of a library. Everything in it is printed from what
 * the tn_model was built from, so that the two cannot disagree. */
#include "backend/llvm.h"

#include <ctype.h>
#include <string.h>

static const char abi_text[] = {
#include "abi_text.inc"
};

static const char stream_text[] = {
#include "abi_stream_text.inc"
};

/* A part of a macro's name: upper case, and _ for what no name can have. */
static char *upper(struct ir_arena *arena, const char *name)
{
    char *s = ir_strdup(arena, name);
    for (char *p = s; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        *p = (char)(c < 0x80 && isalnum(c) ? toupper(c) : '_');
    }
    return s;
}

/* Text inside a C comment: no end of comment, no newline, no trigraph, and
 * nothing that is not UTF-8. */
static void comment_text(struct ir_text *text, const char *s)
{
    for (size_t n; *s; s += n ? n : 1) {
        const unsigned char c = (unsigned char)*s;
        n = ir_utf8_length(s);
        if (n == 0 || c < ' ' || c == 0x7f)
            ir_text_printf(text, "\\x%02x", c);
        else if ((c == '*' && s[1] == '/') || (c == '/' && s[1] == '*'))
            ir_text_printf(text, "%c ", c);
        else if (c == '?' || c == '\\')
            ir_text_printf(text, "%c", c == '?' && s[1] == '?' ? '.' : c);
        else
            ir_text_append(text, s, n);
    }
}

static const char *c_type(enum ir_dtype dtype)
{
    return dtype == IR_F64 ? "double" : dtype == IR_F32 ? "float" : "int32_t";
}

static void describe_columns(const struct be_emitter *e, struct ir_text *text)
{
    const struct ir_module *m = e->module;
    ir_text_puts(text, " * Columns of a row, by element:\n");
    int64_t at = 0;
    for (int i = 0; i < m->n_columns; i++) {
        const struct ir_column *c = &m->columns[i];
        ir_text_printf(text, " *   [%lld] ", (long long)at);
        comment_text(text, c->name);
        if (c->kind == IR_TENSOR_COLUMN)
            ir_text_printf(text, ": tensor of %lld elements",
                           (long long)c->n_elements);
        if (c->kind == IR_CATEGORY && c->n_categories == 0)
            ir_text_puts(text, ": category, the framework's own code");
        for (int k = 0; k < c->n_categories && k < 32; k++) {
            ir_text_printf(text, "%s%d=", k ? ", " : ": category ", k);
            comment_text(text, c->categories[k]);
        }
        if (c->n_categories > 32)
            ir_text_printf(text, ", ... (%d in all)", c->n_categories);
        ir_text_puts(text, "\n");
        at += c->n_elements;
    }
}

/* What there is to know of the functions of steps. */
static void describe_steps(const struct be_emitter *e, struct ir_text *text)
{
    const struct ir_stream *stream = e->stream;
    ir_text_printf(text,
                   " *\n * Streams: a time step is %lld of a row's numbers; a "
                   "row has %lld steps.\n",
                   (long long)be_step_elements(stream),
                   (long long)stream->row.steps);
    if (stream->frames > 1)
        ir_text_printf(text,
                       " * A step is %lld places along time, since the model "
                       "goes in strides.\n", (long long)stream->frames);
    ir_text_printf(text,
                   " * State: %lld bytes. Scratch of a step: %lld bytes.\n",
                   (long long)be_state_bytes(stream),
                   (long long)be_step_scratch_bytes(e));
    if (stream->start)
        ir_text_printf(text,
                       " * Start: the %lld other numbers of a row.\n",
                       (long long)be_start_elements(stream));
    for (int o = 0; o < stream->n_outputs; o++) {
        const struct ir_time *time = &stream->output[o];
        ir_text_printf(text, " *   %d ", o);
        comment_text(text, e->module->outputs[o].name);
        ir_text_printf(text, ": %lld a step%s",
                       (long long)(time->outer * time->inner),
                       time->steps ? "" : ", as of a sequence that ends there");
        if (stream->first_step[o])
            ir_text_printf(text, "; from step %lld on",
                           (long long)stream->first_step[o]);
        ir_text_puts(text, "\n");
    }
}

static void describe(const struct be_emitter *e, struct ir_text *text)
{
    const struct ir_module *m = e->module;
    ir_text_printf(text, "/* %s: a model compiled by treenail %s.\n *\n",
                   e->name, IR_VERSION);
    for (int i = 0; i < m->n_facts; i++) {
        ir_text_puts(text, " * ");
        comment_text(text, m->facts[i].key);
        ir_text_puts(text, ": ");
        comment_text(text, m->facts[i].value);
        ir_text_puts(text, "\n");
    }
    ir_text_printf(text, " * target: %s, ISA levels:", e->target->triple);
    for (int i = 0; i < e->n_levels; i++)
        ir_text_printf(text, " %s", e->levels[i]->name);
    ir_text_puts(text, "\n *\n");
    describe_columns(e, text);
    ir_text_puts(text, " *\n * Outputs, by index:\n");
    for (int i = 0; i < m->n_outputs; i++) {
        const struct ir_output *o = &m->outputs[i];
        ir_text_printf(text, " *   %d ", i);
        comment_text(text, o->name);
        ir_text_printf(text, ": %lld x %s a row",
                       (long long)ir_type_volume(&o->value->type),
                       c_type(o->value->type.dtype));
        for (int k = 0; k < o->n_labels && k < 32; k++) {
            ir_text_printf(text, "%s%d=", k ? ", " : "; ", k);
            comment_text(text, o->labels[k]);
        }
        ir_text_puts(text, "\n");
    }
    if (e->stream)
        describe_steps(e, text);
    ir_text_printf(text,
                   " *\n * Exact: every bit is that of treenail's "
                   "interpreter, at each ISA level and\n * batch size. "
                   "Scratch: %lld bytes. Stack: at most %lld bytes.\n */\n",
                   (long long)be_scratch_bytes(e),
                   (long long)be_stack_bytes(e));
}

/* Different for each output, also where upper case makes names the same. */
static const char *output_macro(struct ir_arena *arena,
                                const struct ir_module *m, int i)
{
    const char *name = upper(arena, m->outputs[i].name);
    for (int j = 0; j < i; j++)
        if (!strcmp(name, upper(arena, m->outputs[j].name)))
            return ir_sprintf(arena, "%s_%d", name, i);
    return name;
}

static void macros(const struct be_emitter *e, struct ir_text *text,
                   const char *name)
{
    const struct ir_module *m = e->module;
    struct ir_arena arena;
    ir_arena_init(&arena);
    ir_text_printf(text, "#define %s_ELEMENTS %lld\n", name,
                   (long long)ir_row_elements(m));
    ir_text_printf(text, "#define %s_SCRATCH_BYTES %lld\n", name,
                   (long long)be_scratch_bytes(e));
    for (int i = 0; i < m->n_outputs; i++) {
        const struct ir_output *o = &m->outputs[i];
        const char *output = output_macro(&arena, m, i);
        ir_text_printf(text, "#define %s_OUTPUT_%s %d\n", name, output, i);
        ir_text_printf(text, "#define %s_%s_SIZE %lld\n", name, output,
                       (long long)ir_type_volume(&o->value->type));
    }
    if (e->stream) {
        ir_text_printf(text, "#define %s_STATE_BYTES %lld\n", name,
                       (long long)be_state_bytes(e->stream));
        ir_text_printf(text, "#define %s_STEP_ELEMENTS %lld\n", name,
                       (long long)be_step_elements(e->stream));
        ir_text_printf(text, "#define %s_STEP_FRAMES %lld\n", name,
                       (long long)e->stream->frames);
        ir_text_printf(text, "#define %s_STEP_SCRATCH_BYTES %lld\n", name,
                       (long long)be_step_scratch_bytes(e));
        if (e->stream->start)
            ir_text_printf(text, "#define %s_START_ELEMENTS %lld\n", name,
                           (long long)be_start_elements(e->stream));
    }
    ir_arena_release(&arena);
}

static void declare_steps(const char *name, bool starts, struct ir_text *text)
{
    ir_text_printf(text,
                   "extern const struct tn_stream %s_stream;\n"
                   "void %s_state_init(void *state);\n", name, name);
    for (int i = 0; i < 2; i++)
        ir_text_printf(
            text,
            "int %s_step_%s(uint32_t output, void *state, const %s *row,\n"
            "    void *out, void *scratch);\n"
            "int %s_steps_%s(uint32_t output, void *state, const %s *rows,\n"
            "    uint64_t n_steps, int64_t row_stride, void *out,\n"
            "    void *scratch);\n",
            name, i ? "f64" : "f32", i ? "double" : "float", name,
            i ? "f64" : "f32", i ? "double" : "float");
    for (int i = 0; starts && i < 2; i++)
        ir_text_printf(
            text,
            "int %s_state_start_%s(void *state, const %s *start, "
            "void *scratch);\n",
            name, i ? "f64" : "f32", i ? "double" : "float");
}

void be_header_text(const struct be_emitter *e, struct ir_text *text)
{
    struct ir_arena arena;
    ir_arena_init(&arena);
    const char *name = e->name, *macro = upper(&arena, e->name);
    describe(e, text);
    ir_text_printf(text, "#ifndef %s_H_TREENAIL\n#define %s_H_TREENAIL\n\n",
                   macro, macro);
    ir_text_puts(text, abi_text);
    if (e->stream)
        ir_text_puts(text, stream_text);
    ir_text_puts(text, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    macros(e, text, macro);
    ir_text_printf(text, "\nextern const struct tn_model %s_model;\n", name);
    for (int i = 0; i < 2; i++)
        ir_text_printf(
            text,
            "int %s_predict_%s(uint32_t output, const %s *rows,\n"
            "    uint64_t n_rows, int64_t row_stride, int64_t column_stride,\n"
            "    void *out, void *scratch);\n"
            "int %s_predict_one_%s(uint32_t output, const %s *row, void *out,\n"
            "    void *scratch);\n",
            name, i ? "f64" : "f32", i ? "double" : "float", name,
            i ? "f64" : "f32", i ? "double" : "float");
    if (e->stream)
        declare_steps(name, e->stream->start != NULL, text);
    ir_text_puts(text, "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    ir_arena_release(&arena);
}
