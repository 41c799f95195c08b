/* compare.c: compiled code against the interpreter, bit for bit.
 *
 * A block of rows is evaluated once by the interpreter for each output and
 * each dtype of rows, then by the library at each ISA level that this CPU runs
 * and in each way below, which together pass through every entry point, every
 * kind of stride, and batches on both sides of every vector width. Memory
 * around the results and the scratch is watched for stray writes.
 *
 * A NaN equals any NaN: which NaN an operation makes is the machine's choice.
 * Everything else must have the same bits, also the sign of a zero.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Numbers that a block's rows, or its results for one output, may take. */
#define MAX_BLOCK_NUMBERS ((int64_t)1 << 20)
#define MAX_BLOCK_ROWS 4096

/* How a block is handed to the library. */
enum layout { ROWS, PADDED_ROWS, COLUMNS, SPREAD, UPWARDS, N_LAYOUTS };
enum batches { ALL_ROWS, MIXED_SIZES, ONE_ROW, THREADS };
static const struct way {
    enum layout layout;
    enum batches batches;
    const char *name;
} ways[] = {
    {ROWS, ALL_ROWS, "row-major"},
    {ROWS, MIXED_SIZES, "row-major"},
    {PADDED_ROWS, MIXED_SIZES, "padded rows"},
    {COLUMNS, ALL_ROWS, "column-major"},
    {COLUMNS, MIXED_SIZES, "column-major"},
    {SPREAD, MIXED_SIZES, "spread out"},
    {UPWARDS, ALL_ROWS, "from the last row up"},
    {PADDED_ROWS, THREADS, "padded rows on two threads"},
    {ROWS, ONE_ROW, "one row"},
};

static const int mixed_sizes[] = {
    1, 2, 3, 0, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129,
    255, 256, 257, 511, 512, 513,
};

/* Elements by which rows and columns lie apart more than they need; elements
 * of a row that are spread out are SPREAD_BY apart. */
enum { PADDING = 3, SPREAD_BY = 2 };
/* Bytes that are watched past a result or the scratch. */
enum { GUARD = 256, GUARD_BYTE = 0xa5 };

/* A block of rows as the library sees it. */
struct block {
    void *memory; /* NaN but for the rows */
    char *rows;
    int64_t row_stride, column_stride; /* elements */
};

/* Memory that is reused from block to block. */
struct cli_compare_room {
    int64_t n_elements; /* of a row */
    int *output;        /* of the module, by output of the library */
    struct block block[2][N_LAYOUTS]; /* by dtype (TN_F32, TN_F64) */
    void *want;
    unsigned char *got;
    unsigned char *scratch; /* NULL when none is needed */
    int turn; /* where the mixed sizes start */
};

/* ------------------------------------------------------------- set-up -- */

static bool same_shape(const struct cli_compare *c, uint32_t library_output,
                       int output, struct ir_diag *diag)
{
    const struct tn_output *o = &c->model->outputs[library_output];
    const struct ir_type *type = &c->module->outputs[output].value->type;
    const enum ir_dtype dtype = o->dtype == TN_F32 ? IR_F32
                              : o->dtype == TN_F64 ? IR_F64 : IR_I32;
    if (type->dtype == dtype && ir_type_volume(type) == o->n_elements)
        return true;
    return ir_error(diag, ir_loc_file(NULL),
                    "output %s: the library has %u of %s, the model %" PRId64
                    " of %s", o->name, o->n_elements, ir_dtype_name(dtype),
                    ir_type_volume(type), ir_dtype_name(type->dtype));
}

static bool match_outputs(struct cli_compare *c, struct ir_diag *diag)
{
    if (c->model->n_elements != ir_row_elements(c->module))
        return ir_error(diag, ir_loc_file(NULL),
                        "a row of the library has %u elements, one of the "
                        "model %" PRId64, c->model->n_elements,
                        ir_row_elements(c->module));
    for (uint32_t o = 0; o < c->model->n_outputs; o++) {
        const int output = ir_find_output(c->module,
                                          c->model->outputs[o].name);
        if (output < 0)
            return ir_error(diag, ir_loc_file(NULL),
                            "the model has no output \"%s\", which the "
                            "library has", c->model->outputs[o].name);
        if (!same_shape(c, o, output, diag))
            return false;
        c->room->output[o] = output;
    }
    return true;
}

static int64_t widest_output(const struct cli_compare *c)
{
    int64_t widest = 1;
    for (uint32_t o = 0; o < c->model->n_outputs; o++)
        if (c->model->outputs[o].n_elements > widest)
            widest = c->model->outputs[o].n_elements;
    return widest;
}

/* Numbers that n rows take, with what lies between them. */
static int64_t block_numbers(const struct cli_compare *c, int layout,
                             int64_t n)
{
    return (n + PADDING) * (c->room->n_elements + PADDING) *
           (layout == SPREAD ? SPREAD_BY : 1);
}

static bool take_memory(struct cli_compare *c, struct ir_diag *diag)
{
    struct cli_compare_room *room = c->room;
    const uint64_t n = (uint64_t)c->max_rows;
    for (int d = 0; d < 2; d++)
        for (int l = 0; l < N_LAYOUTS; l++)
            if (!(room->block[d][l].memory = cli_alloc(
                      (uint64_t)block_numbers(c, l, (int64_t)n),
                      tn_dtype_bytes((uint32_t)d), "numbers", diag)))
                return false;
    const uint64_t results = n * (uint64_t)widest_output(c);
    room->want = cli_alloc(results, 8, "results", diag);
    room->got = cli_alloc(results + GUARD, 8, "results", diag);
    if (!room->want || !room->got)
        return false;
    if (c->model->scratch_bytes == 0)
        return true;
    const uint64_t size = (c->model->scratch_bytes + GUARD + 63) / 64 * 64;
    room->scratch = aligned_alloc(TN_SCRATCH_ALIGN, size);
    return room->scratch ||
           ir_error(diag, ir_loc_file(NULL), "not enough memory for a "
                    "scratch of %" PRIu64 " bytes", size);
}

/* The levels that the library accepts on this CPU. */
static void find_levels(struct cli_compare *c)
{
    for (uint32_t i = 0; i < c->model->n_isa; i++)
        if (c->n_levels < CLI_COUNT(c->level) &&
            c->model->isa_limit(i) == (int)i)
            c->level[c->n_levels++] = (int)i;
    c->model->isa_limit(c->model->n_isa - 1);
}

bool cli_compare_init(struct cli_compare *c, const struct ir_module *module,
                      const struct tn_model *model, struct ir_diag *diag)
{
    *c = (struct cli_compare){.module = module, .model = model};
    ir_text_init(&c->first);
    c->room = ir_realloc_array(NULL, 1, sizeof(*c->room));
    *c->room = (struct cli_compare_room){
        .n_elements = ir_row_elements(module)};
    c->room->output = ir_realloc_array(NULL, model->n_outputs,
                                       sizeof(*c->room->output));
    if (!match_outputs(c, diag)) {
        cli_compare_release(c);
        return false;
    }
    const int64_t out = widest_output(c);
    const int64_t widest = out > c->room->n_elements ? out
                                                     : c->room->n_elements;
    c->max_rows = MAX_BLOCK_NUMBERS / widest;
    c->max_rows = c->max_rows < 1 ? 1
                : c->max_rows < MAX_BLOCK_ROWS ? c->max_rows : MAX_BLOCK_ROWS;
    find_levels(c);
    if (take_memory(c, diag))
        return true;
    cli_compare_release(c);
    return false;
}

void cli_compare_release(struct cli_compare *c)
{
    for (int d = 0; d < 2; d++)
        for (int l = 0; l < N_LAYOUTS; l++)
            free(c->room->block[d][l].memory);
    free(c->room->output);
    free(c->room->want);
    free(c->room->got);
    free(c->room->scratch);
    free(c->room);
    ir_text_release(&c->first);
}

const int *cli_compare_outputs(const struct cli_compare *c)
{
    return c->room->output;
}

/* ----------------------------------------------------- laying out rows -- */

static void put(void *array, int dtype, int64_t i, double value)
{
    if (dtype == TN_F32)
        ((float *)array)[i] = (float)value;
    else
        ((double *)array)[i] = value;
}

/* What lies between the rows is NaN, so that reading it shows. */
static void lay_out_block(const struct cli_compare *c, struct block *b,
                          int dtype, int layout, const double *rows, int64_t n)
{
    const int64_t width = c->room->n_elements;
    const int64_t stride[N_LAYOUTS][2] = {
        [ROWS] = {width, 1},
        [PADDED_ROWS] = {width + PADDING, 1},
        [COLUMNS] = {1, n + PADDING},
        [SPREAD] = {SPREAD_BY * (width + PADDING), SPREAD_BY},
        [UPWARDS] = {-width, 1},
    };
    const int64_t first = layout == UPWARDS ? (n - 1) * width : 0;
    b->row_stride = stride[layout][0];
    b->column_stride = stride[layout][1];
    b->rows = (char *)b->memory +
              first * (int64_t)tn_dtype_bytes((uint32_t)dtype);
    if (layout != ROWS)
        for (int64_t i = 0; i < block_numbers(c, layout, n); i++)
            put(b->memory, dtype, i, NAN);
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < width; k++)
            put(b->rows, dtype, r * b->row_stride + k * b->column_stride,
                rows[r * width + k]);
}

static void lay_out(struct cli_compare *c, const double *rows, int64_t n)
{
    for (int d = 0; d < 2; d++)
        for (int l = 0; l < N_LAYOUTS; l++)
            lay_out_block(c, &c->room->block[d][l], d, l, rows, n);
}

/* ---------------------------------------------------------- comparing -- */

/* What is being compared, for the message. */
struct where {
    const struct way *way;
    uint32_t output;
    int dtype, level;
    int64_t n_rows; /* in the block */
    const double *rows;
    const char *origin;
    int64_t number;
};

static const char *dtype_text(int dtype)
{
    return dtype == TN_F32 ? "f32" : "f64";
}

static void put_row(struct ir_text *text, const double *row, int64_t n)
{
    const int64_t shown = n < 64 ? n : 64;
    for (int64_t i = 0; i < shown; i++) {
        ir_text_puts(text, i ? "," : "");
        ir_text_double(text, row[i]);
    }
    if (n > shown)
        ir_text_printf(text, ",... (%" PRId64 " elements)", n);
}

static void put_bits(struct ir_text *text, const unsigned char *bytes,
                     size_t n)
{
    ir_text_puts(text, " (0x");
    for (size_t i = n; i-- > 0;)
        ir_text_printf(text, "%02x", bytes[i]);
    ir_text_puts(text, ")");
}

static void put_where(struct cli_compare *c, const struct where *w)
{
    ir_text_printf(&c->first, "output %s, level %s, %s %s",
                   c->model->outputs[w->output].name,
                   c->model->isa[c->level[w->level]], dtype_text(w->dtype),
                   w->way->name);
    if (w->way->batches == MIXED_SIZES)
        ir_text_puts(&c->first, " in small batches");
}

/* Element i of the block's results differs. */
static void note_difference(struct cli_compare *c, const struct where *w,
                            size_t i)
{
    const struct tn_output *o = &c->model->outputs[w->output];
    const enum ir_dtype dtype =
        c->module->outputs[c->room->output[w->output]].value->type.dtype;
    const size_t size = tn_dtype_bytes(o->dtype);
    const int64_t row = (int64_t)(i / o->n_elements);
    const unsigned char *want = c->room->want, *got = c->room->got;
    put_where(c, w);
    ir_text_printf(&c->first, ", %s row %" PRId64, w->origin,
                   w->number + row);
    if (o->n_elements > 1)
        ir_text_printf(&c->first, ", element %zu", i % o->n_elements);
    ir_text_puts(&c->first, ": compiled ");
    cli_put_number(&c->first, dtype, got, i);
    put_bits(&c->first, got + i * size, size);
    ir_text_puts(&c->first, ", interpreted ");
    cli_put_number(&c->first, dtype, want, i);
    put_bits(&c->first, want + i * size, size);
    ir_text_puts(&c->first, "\nrow: ");
    put_row(&c->first, w->rows + row * c->room->n_elements,
            c->room->n_elements);
}

/* Bits that differ between elements a and b. */
static int different_bits(const unsigned char *a, const unsigned char *b,
                          uint32_t dtype)
{
    int bits = 0;
    if (!tn_same_element(a, b, dtype))
        for (size_t i = 0; i < tn_dtype_bytes(dtype); i++)
            bits += __builtin_popcount(a[i] ^ b[i]);
    return bits;
}

static void compare_results(struct cli_compare *c, const struct where *w)
{
    const struct tn_output *o = &c->model->outputs[w->output];
    const size_t n = (size_t)w->n_rows * o->n_elements;
    const size_t size = tn_dtype_bytes(o->dtype);
    const unsigned char *got = c->room->got, *want = c->room->want;
    c->n_numbers += (int64_t)n;
    if (!memcmp(want, got, n * size))
        return;
    for (size_t i = 0; i < n; i++) {
        const int bits = different_bits(got + i * size, want + i * size,
                                        o->dtype);
        if (bits && !c->first.length)
            note_difference(c, w, i);
        c->n_bits += bits;
    }
}

static void note_failure(struct cli_compare *c, const struct where *w,
                         const char *what)
{
    c->n_bits++;
    if (c->first.length)
        return;
    put_where(c, w);
    ir_text_printf(&c->first, ", %s rows from %" PRId64 ": %s", w->origin,
                   w->number, what);
}

/* ------------------------------------------------------------ calling -- */

static int call_one(const struct cli_compare *c, const struct where *w,
                    const char *row, void *out)
{
    if (w->dtype == TN_F32)
        return c->model->predict_one_f32(w->output, (const float *)row, out,
                                         c->room->scratch);
    return c->model->predict_one_f64(w->output, (const double *)row, out,
                                     c->room->scratch);
}

static int call(const struct cli_compare *c, const struct where *w,
                int64_t first, int64_t n)
{
    const struct tn_model *m = c->model;
    const struct block *b = &c->room->block[w->dtype][w->way->layout];
    const struct tn_output *o = &m->outputs[w->output];
    const char *rows = b->rows + first * b->row_stride *
                       (int64_t)tn_dtype_bytes((uint32_t)w->dtype);
    void *out = c->room->got + (size_t)first * o->n_elements *
                tn_dtype_bytes(o->dtype);
    if (w->way->batches == ONE_ROW)
        return call_one(c, w, rows, out);
    struct tn_model worth = *m; /* two threads, however short the work is */
    worth.batch_ns = UINT32_MAX;
    if (w->way->batches == THREADS)
        return rt_predict(&worth, w->output, (uint32_t)w->dtype, rows,
                          (uint64_t)n, b->row_stride, b->column_stride, out,
                          2);
    if (w->dtype == TN_F32)
        return m->predict_f32(w->output, (const float *)rows, (uint64_t)n,
                              b->row_stride, b->column_stride, out,
                              c->room->scratch);
    return m->predict_f64(w->output, (const double *)rows, (uint64_t)n,
                          b->row_stride, b->column_stride, out,
                          c->room->scratch);
}

static int64_t batch_size(struct cli_compare *c, const struct where *w)
{
    switch (w->way->batches) {
    case ALL_ROWS:
    case THREADS: return w->n_rows;
    case ONE_ROW: return 1;
    default:
        c->room->turn = (c->room->turn + 1) % CLI_COUNT(mixed_sizes);
        return mixed_sizes[c->room->turn];
    }
}

static bool guard_holds(const unsigned char *guard)
{
    for (int i = 0; i < GUARD; i++)
        if (guard[i] != GUARD_BYTE)
            return false;
    return true;
}

/* Runs a block in one way and looks at what came of it. */
static void compare_way(struct cli_compare *c, const struct where *w)
{
    const struct tn_output *o = &c->model->outputs[w->output];
    const size_t bytes = (size_t)w->n_rows * o->n_elements *
                         tn_dtype_bytes(o->dtype);
    /* What is not written must not be right by chance. */
    for (size_t i = 0; i < bytes; i++)
        c->room->got[i] = (unsigned char)~((unsigned char *)c->room->want)[i];
    memset(c->room->got + bytes, GUARD_BYTE, GUARD);
    unsigned char *scratch_guard = c->room->scratch
        ? c->room->scratch + c->model->scratch_bytes : NULL;
    if (scratch_guard)
        memset(scratch_guard, GUARD_BYTE, GUARD);
    int status = TN_OK;
    for (int64_t first = 0; first < w->n_rows && status == TN_OK;) {
        const int64_t left = w->n_rows - first, size = batch_size(c, w);
        const int64_t n = size < left ? size : left;
        status = call(c, w, first, n);
        first += n;
    }
    if (status != TN_OK)
        note_failure(c, w, "the call failed");
    else
        compare_results(c, w);
    if (!guard_holds(c->room->got + bytes))
        note_failure(c, w, "wrote past the end of the results");
    if (scratch_guard && !guard_holds(scratch_guard))
        note_failure(c, w, "wrote past the end of the scratch");
}

void cli_compare_rows(struct cli_compare *c, const double *rows, int64_t n,
                      const char *origin, int64_t number)
{
    lay_out(c, rows, n);
    struct where w = {.n_rows = n, .rows = rows, .origin = origin,
                      .number = number};
    for (w.dtype = 0; w.dtype < 2; w.dtype++)
        for (w.output = 0; w.output < c->model->n_outputs; w.output++) {
            const struct ir_rows batch = {
                w.dtype == TN_F32 ? IR_F32 : IR_F64,
                c->room->block[w.dtype][ROWS].rows, n, c->room->n_elements,
                1};
            ir_eval(c->module, c->room->output[w.output], &batch,
                    c->room->want);
            for (w.level = 0; w.level < c->n_levels; w.level++) {
                c->model->isa_limit((uint32_t)c->level[w.level]);
                for (int i = 0; i < CLI_COUNT(ways); i++) {
                    w.way = &ways[i];
                    compare_way(c, &w);
                }
            }
        }
    c->model->isa_limit(c->model->n_isa - 1);
    c->n_rows += n;
}
