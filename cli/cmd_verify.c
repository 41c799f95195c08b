/* cmd_verify.c: `treenail verify`, compiled code against the interpreter.
 *
 * Rows come from three places: derived from the model (ir_probe), drawn at
 * random, and DATA. How they are compared is in compare.c.
 */
#include "cli/cli.h"

#include "passes/passes.h"
#include "trainer/trainer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *data; /* the argument, or NULL */
    const char *library, *outputs, *early_stop;
    struct cli_csv csv;
    struct cli_build build;
    int64_t rows, seed, max_derived, time;
    bool quiet;
};

static const struct cli_option table[] = {
    CLI_INT(rows, "rows", 0, "N", 0, 1e12,
            "rows drawn at random (default 10000, of large nets\n"
            "fewer)"),
    CLI_INT(seed, "seed", 0, "S", 0, 9007199254740992.0,
            "of the rows (default 1)"),
    CLI_INT(max_derived, "max-derived", 0, "N", 0, 1e12,
            "rows derived from the model, at most; spread\n"
            "over all of them (default 50000, of large\n"
            "nets fewer)"),
    CLI_TEXT(library, "library", 0, "LIB",
             "check this library instead of compiling one"),
    CLI_TEXT(outputs, "outputs", 0, "A,B",
             "compare only these outputs, contribution among them\n"
             "if named (default: all the others)"),
    CLI_EARLY_STOP(early_stop),
    CLI_TIME(time),
    CLI_TEXT(build.cpus, "cpu", 0, "LIST",
             "ISA levels to compile for (default: all)"),
    CLI_TEXT(build.strategy, "strategy", 0, "S",
             "force how batches are computed: select, slice,\n"
             "oblivious, match16, match32, raw8, raw16, branch\n"
             "or walk"),
    CLI_TEXT(build.row_strategy, "row-strategy", 0, "S",
             "force how one row is computed: match16, match32,\n"
             "raw8, raw16, oblivious, branch or walk"),
    CLI_WINOGRAD(build.winograd),
    CLI_INT(build.few_rows, "few-rows", 0, "N", 1, 65536,
            "force how many rows are no longer few: what is less\n"
            "is done one by one"),
    CLI_TEXT(csv.ignore, "ignore", 0, "A,B",
             "columns of DATA to pass over, say the label"),
    CLI_FLAG(csv.no_header, "no-header", 0,
             "DATA's first line is a row; columns go by place"),
    CLI_FLAG(quiet, "quiet", 'q', "print nothing when all bits agree"),
};

/* One run: what is compared, with room for a block of rows. */
struct verify {
    const struct options *options;
    struct cli_compare compare;
    struct cli_progress progress;
    double *rows;
    int64_t n_derived, n_drawn, n_data; /* rows compared */
    const struct tn_stream *stream; /* NULL: there are no steps */
    int64_t n_stepped; /* rows compared step by step */
    struct ir_diag *diag;
    bool good; /* all steps could be compared */
};

/* Rows of a block that are also taken step by step. */
enum { most_stepped = 64 };

/* ---------------------------------------------------------------- rows -- */

static void compare_block(struct verify *v, int64_t n, const char *origin,
                          int64_t number)
{
    cli_compare_rows(&v->compare, v->rows, n, origin, number);
    if (!v->stream || !v->good)
        return;
    n = n < most_stepped ? n : most_stepped;
    v->n_stepped += n;
    v->good = cli_compare_steps(&v->compare, v->stream, v->rows, n, origin,
                                number, v->diag);
}

/* Compares n of the probe's `of` rows from `first` on, evenly spread. */
static void verify_probe(struct verify *v, const struct ir_probe *probe,
                         int64_t n, int64_t first, int64_t of,
                         const char *origin)
{
    const int64_t width = ir_row_elements(v->compare.module);
    const double step = (double)of / (double)n;
    for (int64_t at = 0; at < n;) {
        int64_t block = v->compare.max_rows;
        block = block < n - at ? block : n - at;
        for (int64_t i = 0; i < block; i++) {
            const int64_t k = n == of ? at + i
                                      : (int64_t)((double)(at + i) * step);
            ir_probe_row(probe, first + k, v->rows + i * width);
        }
        compare_block(v, block, origin, at);
        at += block;
        cli_progress_show(&v->progress, origin, (double)at, (double)n);
    }
}

static bool verify_data(struct verify *v, struct tr_reader *reader,
                        struct ir_diag *diag)
{
    int64_t n;
    while ((n = tr_reader_next(reader, v->rows, v->compare.max_rows,
                               diag)) > 0) {
        compare_block(v, n, "data", v->n_data);
        v->n_data += n;
        uint64_t done, total;
        tr_reader_progress(reader, &done, &total);
        cli_progress_show(&v->progress, "data", (double)done, (double)total);
    }
    if (n == 0 && v->n_data == 0)
        return ir_error(diag, ir_loc_file(v->options->data), "there are no "
                        "rows");
    return n >= 0;
}

/* Of large nets so few that the interpreter takes a minute or so. */
static int64_t default_rows(const struct ir_module *module, int64_t usual)
{
    const int64_t quick = (INT64_C(1) << 35) / (ir_module_work(module) + 1);
    return quick < 16 ? 16 : quick < usual ? quick : usual;
}

static bool verify_all(struct verify *v, struct tr_reader *data,
                       struct ir_diag *diag)
{
    const struct options *o = v->options;
    if (data && !verify_data(v, data, diag))
        return false;
    const struct ir_module *module = v->compare.module;
    struct ir_probe *probe = pass_probe_new(module, (uint64_t)o->seed);
    const int64_t most_rows = o->rows < 0 ? default_rows(module, 10000)
                                          : o->rows;
    const int64_t most_derived =
        o->max_derived < 0 ? default_rows(module, 50000) : o->max_derived;
    const int64_t derived = ir_probe_count(probe);
    v->n_derived = derived < most_derived ? derived : most_derived;
    v->n_drawn = most_rows;
    verify_probe(v, probe, v->n_derived, 0, derived, "derived");
    verify_probe(v, probe, v->n_drawn, derived, v->n_drawn, "drawn");
    ir_probe_free(probe);
    return v->good;
}

/* ----------------------------------------------------------- reporting -- */

static void print_levels(const struct cli_compare *c)
{
    bool run[16] = {false};
    for (int i = 0; i < c->n_levels; i++)
        run[c->level[i]] = true;
    for (uint32_t i = 0; i < c->model->n_isa; i++)
        printf("%s%s%s", i ? ", " : "", c->model->isa[i],
               i < 16 && run[i] ? "" : " (not on this CPU)");
}

static void print_report(const struct verify *v)
{
    const struct cli_compare *c = &v->compare;
    printf("rows         %" PRId64 " (%" PRId64 " derived, %" PRId64
           " drawn", c->n_rows, v->n_derived, v->n_drawn);
    if (v->n_data)
        printf(", %" PRId64 " of data", v->n_data);
    printf(") as f32 and f64\n");
    if (v->stream)
        printf("step by step %" PRId64 " of these, %u steps each, state %"
               PRIu64 " bytes\n", v->n_stepped, v->stream->n_steps,
               v->stream->state_bytes);
    printf("outputs      ");
    for (uint32_t i = 0; i < c->model->n_outputs; i++)
        printf("%s%s", i ? ", " : "", c->model->outputs[i].name);
    printf("\nISA levels   ");
    print_levels(c);
    putchar('\n');
    if (*c->model->strategy) /* of trees */
        printf("strategies   %s, %s for one row\n", c->model->strategy,
               c->model->row_strategy);
    printf("compared     %" PRId64 " numbers\ndiffering    %" PRId64
           " bits\n", c->n_numbers, c->n_bits);
    if (c->first.length)
        printf("first: %s\n", c->first.data);
}

/* The library's own golden rows, at each level. */
static bool selftest(const struct cli_compare *c, struct rt_library *library)
{
    bool good = true;
    for (int i = 0; i < c->n_levels && good; i++) {
        c->model->isa_limit((uint32_t)c->level[i]);
        good = rt_selftest(library);
        if (!good)
            printf("self-test at %s: %s\n", c->model->isa[c->level[i]],
                   library->error);
    }
    c->model->isa_limit(c->model->n_isa - 1);
    return good;
}

/* `data` may be NULL. */
static int verify(struct ir_module *module, struct rt_library *library,
                  struct tr_reader *data, const struct options *o,
                  struct ir_diag *diag)
{
    struct verify v = {.options = o, .stream = library->stream, .diag = diag,
                       .good = true};
    if (!cli_compare_init(&v.compare, module, library->model, diag))
        return CLI_BAD_INPUT;
    cli_progress_init(&v.progress);
    v.rows = cli_alloc((uint64_t)v.compare.max_rows,
                       8 * (uint64_t)ir_row_elements(module), "rows", diag);
    int code = CLI_BAD_INPUT;
    if (v.rows && verify_all(&v, data, diag)) {
        cli_progress_clear(&v.progress);
        code = selftest(&v.compare, library) && v.compare.n_bits == 0
             ? CLI_OK : CLI_CHECK_FAILED;
        if (code != CLI_OK || !o->quiet)
            print_report(&v);
    }
    cli_progress_clear(&v.progress);
    free(v.rows);
    cli_compare_release(&v.compare);
    return code;
}

/* Returns an exit code. */
static int open_library(struct rt_library *library,
                        struct ir_module *module, struct options *o,
                        struct ir_diag *diag)
{
    o->build.streams = true;
    if (!o->library)
        return cli_build_library(library, module, &o->build, diag);
    if (rt_library_open(library, o->library))
        return cli_choose_winograd(module, o->build.winograd, library->stream,
                                   diag);
    ir_error(diag, ir_loc_file(NULL), "%s", library->error);
    return CLI_BAD_INPUT;
}

static int run(int argc, char **argv)
{
    struct options o = {.rows = -1, .seed = 1, .max_derived = -1};
    struct cli_line line;
    if (!cli_parse(&cli_verify, argc, argv, &o, &line))
        return line.exit_code;
    o.data = line.argument[1];
    if (!o.data && o.rows == 0 && o.max_derived == 0)
        return cli_usage_error(&cli_verify, "no rows: --rows 0 excludes "
                               "--max-derived 0 where there is no DATA");
    if (!o.data && (o.csv.ignore || o.csv.no_header))
        return cli_usage_error(&cli_verify, "--%s is of the rows of DATA, "
                               "which is missing",
                               o.csv.ignore ? "ignore" : "no-header");
    if (!cli_early_stop_fits(&cli_verify, o.early_stop) ||
        !cli_winograd_fits(&cli_verify, o.build.winograd))
        return CLI_BAD_USAGE;
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct rt_library library = {0};
    struct ir_module *module = NULL;
    struct cli_build of_library = o.build;
    of_library.winograd = NULL; /* also says what the model computes */
    int code =
        o.library ? cli_refuse_compiled(o.library, NULL, 0, &of_library, &diag)
                  : cli_check_build(NULL, &o.build, &diag);
    if (code == CLI_OK)
        code = cli_read_model(&module, line.argument[0], o.time, &diag);
    if (code == CLI_OK && (!cli_stop_early(module, o.early_stop, &diag) ||
                           !cli_keep_outputs(module, o.outputs, &diag)))
        code = CLI_BAD_USAGE;
    if (code == CLI_OK)
        code = cli_check_strategies(module, &o.build, &diag);
    struct tr_reader *data = NULL;
    if (code == CLI_OK && o.data)
        code = cli_open_rows(&data, o.data, &o.csv, module->n_columns,
                             module->columns, &diag);
    if (code == CLI_OK)
        code = open_library(&library, module, &o, &diag);
    if (code == CLI_OK)
        code = verify(module, &library, data, &o, &diag);
    tr_reader_close(data);
    rt_library_close(&library);
    if (module)
        ir_module_free(module);
    return cli_finish(&diag, code);
}

const struct cli_command cli_verify = {
    .name = "verify",
    .summary = "Compares compiled code with the interpreter, bit for bit.",
    .arguments = "MODEL [DATA] [options]",
    .min_arguments = 1, .max_arguments = 2,
    .options = table, .n_options = CLI_COUNT(table),
    .example =
        "Every output is compared, for rows of f32 and of f64, as batches of "
        "many\nsizes and layouts and one by one, at each ISA level that this "
        "CPU runs. Rows are\nderived from the model (each threshold and the "
        "floats beside it, NaN, infinities,\nunseen categories), drawn at "
        "random, and read from DATA. A NaN equals any NaN.\nExit code 3 when "
        "a bit differs.\n\n"
        "example:\n"
        "  treenail verify model.txt\n"
        "  treenail verify model.txt rows.csv --library fraud.so\n",
    .run = run,
};
