/* fz_diff.c: compiled code equals the interpreter, bit for bit.
 *
 * A model out of bytes (gen_model.h) is compiled at a strategy that the first
 * bytes choose and run in this process, at every ISA level that this CPU has,
 * by the same comparison as `treenail verify`: f32 and f64 rows, all strides,
 * batches on both sides of each vector width, one row at a time. A net that can
 * be taken step by step is, too.
 *
 *   byte 0    the batch strategy: 0 chosen, then branch, walk, select,
 *             slice, oblivious, match16, match32, raw8, raw16
 *   byte 1    the one-row strategy: 0 chosen, then branch, walk, match16,
 *             match32, oblivious, raw8, raw16
 *   byte 2    the seed of the rows
 *   byte 3    0: keep all outputs, else only the first
 *   byte 4    rows: 0 is 150; up to 199 so many; else a tile, or two or three,
 *             and one row less, none, or one more
 *   byte 5    odd: compiled for all levels, also those that cannot run here
 *   byte 6    rows done one by one in a batch, modulo 4: 2 what is chosen,
 *             3 fewer than byte 7 says, else none; bit 2: leaf values are
 *             stored narrow wherever they can be
 *   byte 8-   the model
 */
#include "backend/backend.h"
#include "cli/cli.h"
#include "fuzz/gen_model.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { header_bytes = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stop(const struct ir_diag *diag)
{
    ir_diag_print(diag, stderr);
    abort();
}

/* Rows of a tile, as the forests have it; 64 is what maps alone get. */
static int64_t tile_rows(const struct ir_module *module)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < module->n_ops; i++) {
        const int64_t n =
            ir_attr_int_or(module->ops[i], "tile_rows", INT64_MAX);
        least = n < least ? n : least;
    }
    return least == INT64_MAX ? 64 : least;
}

static int64_t choose_rows(const struct ir_module *module, unsigned byte)
{
    if (byte < 200)
        return byte ? byte : 150;
    return (1 + byte % 3) * tile_rows(module) + byte / 3 % 3 - 1;
}

/* Half of the rows derived from the model, half drawn. */
static void compare(const struct ir_module *source,
                    const struct tn_model *model,
                    const struct tn_stream *stream, int64_t n, uint64_t seed,
                    struct ir_diag *diag)
{
    struct cli_compare c;
    if (!cli_compare_init(&c, source, model, diag))
        stop(diag);
    const size_t width = (size_t)ir_row_elements(source);
    n = n < c.max_rows ? n : c.max_rows;
    double *rows = ir_realloc_array(NULL, (size_t)n * width + 1, 8);
    struct ir_probe *probe = ir_probe_new(source, seed);
    const int64_t derived = ir_probe_count(probe);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t r = ir_random(seed, (uint64_t)i);
        const int64_t at =
            i % 2 ? derived + i : (int64_t)(r % (uint64_t)derived);
        ir_probe_row(probe, at, rows + (size_t)i * width);
    }
    cli_compare_rows(&c, rows, n, "row", 0);
    if (stream &&
        !cli_compare_steps(&c, stream, rows, n < 24 ? n : 24, "row", 0, diag))
        stop(diag);
    if (c.n_bits) {
        fprintf(stderr, "%s\n", c.first.data);
        abort();
    }
    ir_probe_free(probe);
    free(rows);
    cli_compare_release(&c);
}

/* As the pass narrow_leaves does where it pays. */
static void narrow_all(struct ir_module *module)
{
    for (int i = 0; i < module->n_ops; i++) {
        struct ir_op *op = module->ops[i];
        struct ir_forest f;
        if (op->kind != IR_OP_forest)
            continue;
        ir_forest_view(op, &f);
        if (ir_leaves_fit(&f, IR_U8))
            ir_set_attr(module, op, ir_string("leaf_dtype", "u8"));
        else if (ir_leaves_fit(&f, IR_F32))
            ir_set_attr(module, op, ir_string("leaf_dtype", "f32"));
    }
}

/* The time step of a net that has one: its passes change no answer. */
static struct ir_stream *stream_of(struct ir_module *source,
                                   struct ir_diag *diag)
{
    const struct pass_options checked = {
        .verify_each = true, .diff_each = true, .diff_rows = 8};
    struct ir_text why;
    ir_text_init(&why);
    struct ir_stream *stream = pass_stream(source, &why);
    if (stream && !pass_stream_run(stream, &checked, diag))
        stop(diag);
    ir_text_release(&why);
    return stream;
}

/* Code that cannot run here takes a third of the time. */
static const char *cpus_here(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v2,x86-64-v3";
#endif
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const batch[] = {NULL, "branch", "walk", "select",
                                        "slice", "oblivious", "match16",
                                        "match32", "raw8", "raw16"};
    static const char *const one[] = {NULL, "branch", "walk", "match16",
                                      "match32", "oblivious", "raw8",
                                      "raw16"};
    uint8_t head[header_bytes] = {0};
    memcpy(head, data, size < header_bytes ? size : header_bytes);
    const size_t skip = size < header_bytes ? size : header_bytes;
    struct ir_module *source = gen_model(data + skip, size - skip);
    struct ir_diag diag;
    ir_diag_init(&diag);
    if (head[3]) {
        const char *first = source->outputs[0].name;
        if (!ir_keep_outputs(source, 1, &first, &diag))
            stop(&diag);
    }
    const struct pass_options passes = {
        .strategy = batch[head[0] % 10],
        .row_strategy = one[head[1] % 8],
        .few_rows = head[6] % 4 == 2 ? 0 : head[6] % 4 == 3 ? head[7] : 1,
    };
    struct ir_module *module = ir_module_clone(source);
    if (!pass_run_all(module, &passes, &diag)) {
        /* A strategy may be out of reach, and has to say so. */
        if (!strstr(diag.message[0], "cannot be"))
            stop(&diag);
    } else {
        if (head[6] & 4)
            narrow_all(module);
        struct ir_stream *stream = stream_of(source, &diag);
        const struct be_options options = {
            .cpus = head[5] & 1 ? NULL : cpus_here(), .n_golden = 1,
            .stream = stream};
        struct be_jit *jit = NULL;
        struct be_artifact *artifact =
            be_compile(source, module, &options, &diag);
        const struct tn_model *model =
            artifact ? be_jit_load(artifact, &jit, &diag) : NULL;
        if (!model)
            stop(&diag);
        be_free(artifact);
        compare(source, model, be_jit_stream(jit), choose_rows(module, head[4]),
                head[2], &diag);
        be_jit_free(jit);
        pass_stream_free(stream);
    }
    ir_module_free(module);
    ir_module_free(source);
    ir_diag_release(&diag);
    return 0;
}
