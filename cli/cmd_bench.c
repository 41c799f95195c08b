/* cmd_bench.c: `treenail bench`, how long a row takes.
 *
 * All rows are predicted again and again, in batches; the median of the runs
 * is what is reported, since a run that was disturbed says nothing.
 */
#include "cli/cli.h"

#include "passes/passes.h"
#include "trainer/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *early_stop, *output, *dtype, *isa, *data;
    struct cli_csv csv;
    struct cli_build build;
    int64_t rows, batch, threads, seed, time;
    double seconds;
    bool json;
};

static const struct cli_option table[] = {
    CLI_INT(rows, "rows", 'n', "N", 1, 1e12, "(default 65536)"),
    CLI_INT(batch, "batch", 'b', "B", 0, 1e12,
            "rows a call; 1 measures the one-row function\n"
            "(default 0: all at once)"),
    CLI_INT(threads, "threads", 't', "T", 0, 256,
            "(default 1; 0: one a core)"),
    CLI_TEXT(output, "output", 0, "NAME", "(default: the model's first)"),
    CLI_EARLY_STOP(early_stop),
    CLI_TIME(time),
    CLI_TEXT(dtype, "dtype", 0, "D", "of the rows: f32 (default) or f64"),
    CLI_TEXT(isa, "isa", 0, "LEVEL",
             "run at this ISA level (default: this CPU's best)"),
    CLI_REAL(seconds, "seconds", 0, "S", 0, 86400,
             "measure for so long, at least 5 runs (default 1)"),
    CLI_TEXT(data, "data", 0, "CSV", "measure on these rows"),
    CLI_FLAG(csv.no_header, "no-header", 0,
             "its first line is a row; columns go by place"),
    CLI_TEXT(csv.ignore, "ignore", 0, "A,B",
             "columns of it to pass over, say the label"),
    CLI_INT(seed, "seed", 0, "S", 0, 9007199254740992.0,
            "of drawn rows (default 1)"),
    CLI_TEXT(build.cpus, "cpu", 0, "LIST",
             "ISA levels to compile a model for"),
    CLI_TEXT(build.strategy, "strategy", 0, "S",
             "force how a model's batches are computed"),
    CLI_TEXT(build.row_strategy, "row-strategy", 0, "S",
             "force how one row of a model is computed"),
    CLI_WINOGRAD(build.winograd),
    CLI_INT(build.few_rows, "few-rows", 0, "N", 1, 65536,
            "force how many rows are no longer few: what is less\n"
            "is done one by one"),
    CLI_FLAG(json, "json", 0, "print JSON"),
};

/* ---------------------------------------------------------------- rows -- */

/* Rows as the library takes them. */
struct rows {
    uint32_t dtype; /* enum tn_dtype */
    int64_t n;
    void *data;
};

static void put_row(const struct rows *rows, int64_t at, const double *row,
                    int64_t width)
{
    for (int64_t i = 0; i < width; i++)
        if (rows->dtype == TN_F32)
            ((float *)rows->data)[at * width + i] = (float)row[i];
        else
            ((double *)rows->data)[at * width + i] = row[i];
}

static bool draw_from_model(const struct rows *rows,
                            const struct ir_module *module, uint64_t seed,
                            struct ir_diag *diag)
{
    const int64_t width = ir_row_elements(module);
    double *row = cli_alloc((uint64_t)width, sizeof(*row), "numbers", diag);
    if (!row)
        return false;
    struct ir_probe *probe = pass_probe_new(module, seed);
    const int64_t first = ir_probe_count(probe);
    for (int64_t r = 0; r < rows->n; r++) {
        ir_probe_row(probe, first + r, row);
        put_row(rows, r, row, width);
    }
    ir_probe_free(probe);
    free(row);
    return true;
}

/* What one element of a row may be. */
struct range {
    double low, high;
    bool whole;
};

/* What the golden rows span: a library says nothing else of its inputs. */
static void find_ranges(const struct tn_model *model, struct range *range)
{
    struct range *at = range;
    for (uint32_t c = 0; c < model->n_columns; c++)
        for (uint32_t i = 0; i < model->columns[c].n_elements; i++)
            *at++ = (struct range){
                INFINITY, -INFINITY, model->columns[c].kind == TN_CATEGORY};
    const uint64_t width = model->n_elements;
    for (uint64_t i = 0; i < model->n_golden * width; i++) {
        const double v = tn_golden_number(model, i);
        at = &range[i % width];
        if (isfinite(v)) {
            at->low = fmin(at->low, v);
            at->high = fmax(at->high, v);
        }
    }
    for (uint64_t i = 0; i < width; i++)
        if (range[i].low > range[i].high)
            range[i] = (struct range){0, 1, range[i].whole};
}

static double draw(const struct range *range, uint64_t seed, uint64_t i)
{
    const double u = (double)(ir_random(seed, i) >> 11) * 0x1p-53;
    /* Not low + u * (high - low), which may overflow. */
    const double v = (1 - u) * range->low + u * range->high;
    return range->whole ? floor(v) : v;
}

static bool draw_from_library(const struct rows *rows,
                              const struct tn_model *model, uint64_t seed,
                              struct ir_diag *diag)
{
    const int64_t width = model->n_elements;
    struct range *range = cli_alloc((uint64_t)width, sizeof(*range),
                                    "ranges", diag);
    double *row = cli_alloc((uint64_t)width, sizeof(*row), "numbers", diag);
    if (range && row) {
        find_ranges(model, range);
        for (int64_t r = 0; r < rows->n; r++) {
            for (int64_t i = 0; i < width; i++)
                row[i] = draw(&range[i], seed, (uint64_t)(r * width + i));
            put_row(rows, r, row, width);
        }
    }
    free(range);
    free(row);
    return range && row;
}

/* The rows of a file, once over; --rows does not apply. */
static bool read_rows(struct rows *rows, struct tr_reader *reader,
                      const char *path, struct ir_diag *diag)
{
    const int64_t width = tr_reader_elements(reader), block = 1024;
    double *part = cli_alloc((uint64_t)block, 8 * (uint64_t)width, "rows",
                             diag);
    const size_t size = (size_t)width * tn_dtype_bytes(rows->dtype);
    int64_t n = -1, room = 0;
    rows->n = 0;
    while (part && (n = tr_reader_next(reader, part, block, diag)) > 0) {
        while (rows->n + n > room)
            rows->data = ir_realloc_array(
                rows->data, (size_t)(room = 2 * room + block), size);
        for (int64_t i = 0; i < n; i++)
            put_row(rows, rows->n + i, part + i * width, width);
        rows->n += n;
    }
    free(part);
    if (n == 0 && rows->n == 0)
        return ir_error(diag, ir_loc_file(path), "there are no rows");
    return n == 0;
}

/* Those of `data`, or drawn where that is NULL. */
static bool make_rows(struct rows *rows, struct tr_reader *data,
                      const struct cli_source *source,
                      const struct tn_model *model, const struct options *o,
                      struct ir_diag *diag)
{
    *rows = (struct rows){
        .dtype = o->dtype && !strcmp(o->dtype, "f64") ? TN_F64 : TN_F32,
        .n = o->rows};
    if (data)
        return read_rows(rows, data, o->data, diag);
    rows->data = cli_alloc((uint64_t)rows->n,
                           (uint64_t)source->n_elements *
                           tn_dtype_bytes(rows->dtype), "rows", diag);
    if (!rows->data)
        return false;
    return source->module
        ? draw_from_model(rows, source->module, (uint64_t)o->seed, diag)
        : draw_from_library(rows, model, (uint64_t)o->seed, diag);
}

/* ----------------------------------------------------------- measuring -- */

struct bench {
    const struct tn_model *model;
    struct rows rows;
    uint32_t output;
    int64_t batch;
    int n_threads;
    struct rt_pool *pool; /* of several threads, else NULL */
    void *out, *scratch;
    double *run; /* [n_runs] seconds, ascending at the end */
    int n_runs;
};

static int one_by_one(const struct bench *b)
{
    const struct tn_model *m = b->model;
    const int64_t width = m->n_elements;
    int status = TN_OK;
    for (int64_t r = 0; r < b->rows.n && status == TN_OK; r++)
        status = b->rows.dtype == TN_F32
            ? m->predict_one_f32(b->output,
                                 (const float *)b->rows.data + r * width,
                                 b->out, b->scratch)
            : m->predict_one_f64(b->output,
                                 (const double *)b->rows.data + r * width,
                                 b->out, b->scratch);
    return status;
}

static int batch_at(const struct bench *b, int64_t first, int64_t n)
{
    const struct tn_model *m = b->model;
    const int64_t width = m->n_elements;
    const float *f32 = (const float *)b->rows.data + first * width;
    const double *f64 = (const double *)b->rows.data + first * width;
    if (b->pool)
        return rt_pool_predict(b->pool, m, b->output, b->rows.dtype,
                               b->rows.dtype == TN_F32 ? (const void *)f32
                                                       : f64,
                               (uint64_t)n, width, 1, b->out);
    if (b->rows.dtype == TN_F32)
        return m->predict_f32(b->output, f32, (uint64_t)n, width, 1, b->out,
                              b->scratch);
    return m->predict_f64(b->output, f64, (uint64_t)n, width, 1, b->out,
                          b->scratch);
}

static int run_once(const struct bench *b)
{
    if (b->batch == 1)
        return one_by_one(b);
    int status = TN_OK;
    for (int64_t r = 0; r < b->rows.n && status == TN_OK; r += b->batch) {
        const int64_t left = b->rows.n - r;
        status = batch_at(b, r, b->batch < left ? b->batch : left);
    }
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

#define MIN_RUNS 5
#define MAX_RUNS 10000

static bool measure(struct bench *b, double seconds, struct ir_diag *diag)
{
    struct cli_progress progress;
    cli_progress_init(&progress);
    int status = run_once(b); /* warms caches up */
    const double start = cli_seconds();
    double now = start;
    while (status == TN_OK && b->n_runs < MAX_RUNS &&
           (b->n_runs < MIN_RUNS || now - start < seconds)) {
        status = run_once(b);
        const double then = cli_seconds();
        b->run[b->n_runs++] = then - now;
        now = then;
        cli_progress_show(&progress, "measuring", now - start, seconds);
    }
    cli_progress_clear(&progress);
    qsort(b->run, (size_t)b->n_runs, sizeof(*b->run), by_value);
    return status == TN_OK || ir_error(diag, ir_loc_file(NULL),
                                       "the library fails with status %d",
                                       status);
}

/* ----------------------------------------------------------- reporting -- */

static double ns_per_row(const struct bench *b, double seconds)
{
    return 1e9 * seconds / (double)b->rows.n;
}

static double median(const struct bench *b)
{
    return (b->run[(b->n_runs - 1) / 2] + b->run[b->n_runs / 2]) / 2;
}

/* Empty where there are no trees. */
static const char *strategy(const struct bench *b)
{
    return b->batch == 1 ? b->model->row_strategy : b->model->strategy;
}

static const char *isa(const struct bench *b)
{
    return b->model->isa[b->model->isa_level()];
}

static const char *dtype(const struct bench *b)
{
    return b->rows.dtype == TN_F32 ? "f32" : "f64";
}

static void print_json(const struct bench *b)
{
    struct cli_json json;
    cli_json_init(&json);
    cli_json_open(&json, NULL, '{');
    cli_json_string(&json, "model", b->model->name);
    cli_json_string(&json, "output", b->model->outputs[b->output].name);
    cli_json_real(&json, "ns_per_row", ns_per_row(b, median(b)));
    cli_json_real(&json, "min_ns_per_row", ns_per_row(b, b->run[0]));
    cli_json_real(&json, "rows_per_second",
                  (double)b->rows.n / median(b));
    cli_json_int(&json, "rows", b->rows.n);
    cli_json_int(&json, "batch", b->batch);
    cli_json_int(&json, "threads", b->n_threads);
    cli_json_string(&json, "dtype", dtype(b));
    cli_json_string(&json, "isa", isa(b));
    cli_json_string(&json, "strategy", strategy(b));
    cli_json_int(&json, "runs", b->n_runs);
    cli_json_close(&json, '}');
    cli_json_print(&json);
    cli_json_release(&json);
}

static void print_text(const struct bench *b)
{
    printf("ns_per_row   %.1f (median of %d runs, least %.1f)\n",
           ns_per_row(b, median(b)), b->n_runs, ns_per_row(b, b->run[0]));
    printf("rows         %" PRId64 " of %s\nbatch        %" PRId64
           "\nthreads      %d\n", b->rows.n, dtype(b), b->batch,
           b->n_threads);
    printf("output       %s\nISA          %s\n",
           b->model->outputs[b->output].name, isa(b));
    if (*strategy(b))
        printf("strategy     %s\n", strategy(b));
}

/* -------------------------------------------------------------- set-up -- */

/* Returns an exit code. */
static int set_level(const struct tn_model *model, const char *level,
                     struct ir_diag *diag)
{
    struct ir_text known;
    int found = -1;
    ir_text_init(&known);
    for (uint32_t i = 0; level && i < model->n_isa; i++) {
        ir_text_printf(&known, "%s%s", i ? ", " : "", model->isa[i]);
        if (!strcmp(model->isa[i], level))
            found = (int)i;
    }
    int code = CLI_OK;
    if (level && found < 0) {
        ir_error(diag, ir_loc_file(NULL),
                 "option --isa: there is no ISA level named \"%s\" (there "
                 "are: %s)", level, known.data);
        code = CLI_BAD_USAGE;
    } else if (level && model->isa_limit((uint32_t)found) != found) {
        ir_error(diag, ir_loc_file(NULL),
                 "option --isa: this CPU does not run %s", level);
        code = CLI_BAD_INPUT;
    }
    ir_text_release(&known);
    return code;
}

static bool run_bench(struct bench *b, struct tr_reader *data,
                      const struct cli_source *source,
                      const struct options *o, struct ir_diag *diag)
{
    const struct tn_output *output = &b->model->outputs[b->output];
    bool good = make_rows(&b->rows, data, source, b->model, o, diag);
    if (good) {
        b->batch = o->batch && o->batch < b->rows.n ? o->batch : b->rows.n;
        b->out = cli_alloc((uint64_t)b->batch,
                           output->n_elements *
                           tn_dtype_bytes(output->dtype), "results", diag);
        b->scratch = rt_scratch_new(b->model);
        b->pool = b->n_threads != 1 ? rt_pool_new(b->n_threads) : NULL;
        b->run = cli_alloc(MAX_RUNS, sizeof(*b->run), "numbers", diag);
        good = b->out && b->run && measure(b, o->seconds, diag);
    }
    if (good && o->json)
        print_json(b);
    else if (good)
        print_text(b);
    rt_pool_free(b->pool);
    free(b->rows.data);
    free(b->out);
    free(b->scratch);
    free(b->run);
    return good;
}

/* Returns an exit code. */
static int bench(const struct cli_source *source,
                 const struct tn_model *model, const struct options *o,
                 struct ir_diag *diag)
{
    const int output = cli_source_find(source, o->output, diag);
    if (output < 0)
        return CLI_BAD_USAGE;
    struct tr_reader *data = NULL;
    int code = set_level(model, o->isa, diag);
    if (code == CLI_OK && o->data)
        code = cli_open_rows(&data, o->data, &o->csv, source->n_columns,
                             source->columns, diag);
    struct bench b = {.model = model, .output = (uint32_t)output,
                      .n_threads = (int)o->threads};
    if (code == CLI_OK && !run_bench(&b, data, source, o, diag))
        code = CLI_BAD_INPUT;
    tr_reader_close(data);
    return code;
}

static bool check_options(const struct options *o)
{
    if (o->dtype && strcmp(o->dtype, "f32") && strcmp(o->dtype, "f64"))
        cli_usage_error(&cli_bench, "option --dtype: \"%s\" is neither f32 "
                        "nor f64", o->dtype);
    else if (o->batch == 1 && o->threads != 1)
        cli_usage_error(&cli_bench, "one row at a time runs on one thread: "
                        "--batch 1 excludes --threads");
    else if (o->data && (o->rows || o->seed >= 0))
        cli_usage_error(&cli_bench, "--%s is of drawn rows: --data takes "
                        "those of a file, all of them",
                        o->rows ? "rows" : "seed");
    else if (!o->data && (o->csv.no_header || o->csv.ignore))
        cli_usage_error(&cli_bench, "--%s is of the rows of --data, which is "
                        "missing", o->csv.ignore ? "ignore" : "no-header");
    else
        return true;
    return false;
}

static int run(int argc, char **argv)
{
    struct options o = {.threads = 1, .seed = -1, .seconds = 1};
    struct cli_line line;
    if (!cli_parse(&cli_bench, argc, argv, &o, &line))
        return line.exit_code;
    if (!check_options(&o))
        return CLI_BAD_USAGE;
    o.rows = o.rows ? o.rows : 65536;
    o.seed = o.seed < 0 ? 1 : o.seed;
    if (!cli_early_stop_fits(&cli_bench, o.early_stop) ||
        !cli_winograd_fits(&cli_bench, o.build.winograd))
        return CLI_BAD_USAGE;
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct cli_source source;
    int code = cli_check_build(NULL, &o.build, &diag);
    if (code == CLI_OK)
        code = cli_source_open(&source, line.argument[0], o.output,
                               o.early_stop, o.time, &o.build, &diag);
    if (code != CLI_OK)
        return cli_finish(&diag, code);
    struct rt_library compiled = {0};
    const struct tn_model *model = source.library.model;
    if (source.module) {
        code = cli_build_library(&compiled, source.module, &o.build, &diag);
        model = compiled.model;
    }
    if (code == CLI_OK)
        code = bench(&source, model, &o, &diag);
    rt_library_close(&compiled);
    cli_source_close(&source);
    return cli_finish(&diag, code);
}

const struct cli_command cli_bench = {
    .name = "bench",
    .summary = "Measures how long a compiled model takes for a row.",
    .arguments = "MODEL|LIBRARY [options]",
    .min_arguments = 1, .max_arguments = 1,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "A model is compiled first; a library runs its own code: use none "
        "that you do not\ntrust. Rows are drawn from the range of the model's "
        "thresholds, or of the\nlibrary's golden rows.\n\n"
        "example: throughput, and latency\n"
        "  treenail bench fraud.so --threads 2\n"
        "  treenail bench model.txt --batch 1 --json\n",
    .run = run,
};
