/* fz_diff.c: compiled code equals the interpreter, bit for bit.
 *
 * A model out of bytes (gen_model.h) is compiled at a strategy that the first
 * bytes choose and run in this process, at every ISA level that this CPU has,
 * by the same comparison as `treenail verify`: f32 and f64 rows, all strides,
 * batches on both sides of each vector width, one row at a time.
 *
 *   byte 0    the batch strategy: 0 chosen, then branch, walk, select
 *   byte 1    the one-row strategy: 0 chosen, then branch, walk
 *   byte 2    the seed of the rows
 *   byte 3    0: keep all outputs, else only the first
 *   byte 4-7  not used
 *   byte 8-   the model
 */
#include "backend/backend.h"
#include "cli/cli.h"
#include "fuzz/gen_model.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { header_bytes = 8, n_rows = 150 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stop(const struct ir_diag *diag)
{
    ir_diag_print(diag, stderr);
    abort();
}

/* Half of the rows derived from the model, half drawn. */
static void compare(const struct ir_module *source,
                    const struct tn_model *model, uint64_t seed,
                    struct ir_diag *diag)
{
    struct cli_compare c;
    if (!cli_compare_init(&c, source, model, diag))
        stop(diag);
    const size_t width = (size_t)ir_row_elements(source);
    const int64_t n = c.max_rows < n_rows ? c.max_rows : n_rows;
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
    if (c.n_bits) {
        fprintf(stderr, "%s\n", c.first.data);
        abort();
    }
    ir_probe_free(probe);
    free(rows);
    cli_compare_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const strategies[] = {NULL, "branch", "walk", "select"};
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
        .strategy = strategies[head[0] % 4],
        .row_strategy = strategies[head[1] % 3],
    };
    struct ir_module *module = ir_module_clone(source);
    if (!pass_run_all(module, &passes, &diag)) {
        /* A strategy may be out of reach, and has to say so. */
        if (!strstr(diag.message[0], "cannot be"))
            stop(&diag);
    } else {
        const struct be_options options = {.n_golden = 1};
        struct be_jit *jit = NULL;
        struct be_artifact *artifact =
            be_compile(source, module, &options, &diag);
        const struct tn_model *model =
            artifact ? be_jit_load(artifact, &jit, &diag) : NULL;
        if (!model)
            stop(&diag);
        be_free(artifact);
        compare(source, model, head[2], &diag);
        be_jit_free(jit);
    }
    ir_module_free(module);
    ir_module_free(source);
    ir_diag_release(&diag);
    return 0;
}
