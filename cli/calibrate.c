/* calibrate.c: `--precision`, of compile and opt: the rows of --calibrate
 * go through the model, which gives the ranges that int8 needs and the answers
 * as they were; then through the one with fewer bits. What differs is printed.
 *
 * The interpreter does both, so of many rows only some are taken, spread over
 * all: each time that there are most_rows, every other one is dropped. */
#include "cli/cli.h"

#include "passes/passes.h"
#include "trainer/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { most_rows = 2048, block_rows = 256 };

/* Rows that are kept: those whose number is a multiple of `every`. */
struct rows {
    double *x;      /* [n][width] */
    double *target; /* [n]; NULL: not known */
    int64_t width, n, every, n_read;
};

/* What is compared of an output. */
struct answers {
    enum ir_dtype dtype;
    int64_t width;
    uint8_t *before, *after; /* [n][width] */
};

/* -------------------------------------------------------------------- rows */

static void keep_row(struct rows *rows, const double *x, double target)
{
    if (rows->n_read++ % rows->every)
        return;
    if (rows->n == most_rows) {
        for (int64_t i = 0; i < most_rows / 2; i++) {
            memcpy(rows->x + i * rows->width, rows->x + 2 * i * rows->width,
                   (size_t)rows->width * sizeof(*x));
            if (rows->target)
                rows->target[i] = rows->target[2 * i];
        }
        rows->n = most_rows / 2;
        rows->every *= 2;
        if ((rows->n_read - 1) % rows->every)
            return;
    }
    memcpy(rows->x + rows->n * rows->width, x,
           (size_t)rows->width * sizeof(*x));
    if (rows->target)
        rows->target[rows->n] = target;
    rows->n++;
}

/* The output that the target is compared with: the class, or else the first.
 */
static int judged_output(const struct ir_module *module)
{
    for (int i = 0; i < module->n_outputs; i++)
        if (module->outputs[i].value->type.dtype == IR_I32 &&
            ir_type_volume(&module->outputs[i].value->type) == 1)
            return i;
    return 0;
}

static struct ir_column target_column(const struct ir_module *module,
                                      const char *name)
{
    const struct ir_output *out = &module->outputs[judged_output(module)];
    struct ir_column column = {.name = name, .kind = IR_NUMBER,
                               .n_elements = 1};
    if (out->n_labels) {
        column.kind = IR_CATEGORY;
        column.n_categories = out->n_labels;
        column.categories = out->labels;
    }
    return column;
}

/* Two readers of one file: of the model's columns, and of the target. */
struct readers {
    struct tr_reader *x, *target; /* the latter may be NULL */
    struct ir_column column;
    double *block, *targets;
};

/* Returns an exit code. The label goes first: it is one of the file's columns
 * when it is then passed over with those to ignore. */
static int open_readers(struct readers *r, const struct ir_module *module,
                        const struct cli_precision *p, struct ir_diag *diag)
{
    struct cli_csv csv = {.no_header = p->csv.no_header};
    if (p->label) {
        const struct tr_csv_options options =
            cli_csv_options(&csv, &diag->arena);
        const unsigned before = diag->n_messages;
        r->column = target_column(module, p->label);
        r->target = tr_reader_open(p->data, &options, 1, &r->column, diag);
        if (!r->target)
            return *options.fault == TR_FAULT_COLUMNS
                       ? cli_blame_option(diag, before, "label")
                       : CLI_BAD_INPUT;
    }
    csv.ignore = p->csv.ignore;
    csv.label = p->label;
    return cli_open_rows(&r->x, p->data, &csv, module->n_columns,
                         module->columns, diag);
}

static void close_readers(struct readers *r)
{
    if (r->x)
        tr_reader_close(r->x);
    if (r->target)
        tr_reader_close(r->target);
    free(r->block);
    free(r->targets);
}

static bool read_all(struct rows *rows, struct readers *r,
                     struct ir_diag *diag)
{
    int64_t n;
    while ((n = tr_reader_next(r->x, r->block, block_rows, diag)) > 0) {
        if (r->target &&
            tr_reader_next(r->target, r->targets, block_rows, diag) != n)
            return false;
        for (int64_t i = 0; i < n; i++)
            keep_row(rows, r->block + i * rows->width,
                     r->target ? r->targets[i] : 0);
    }
    return n == 0;
}

/* Returns an exit code. */
static int read_rows(struct rows *rows, const struct ir_module *module,
                     const struct cli_precision *p, struct ir_diag *diag)
{
    struct readers r = {0};
    const uint64_t width = (uint64_t)ir_row_elements(module);
    *rows = (struct rows){.width = (int64_t)width, .every = 1};
    rows->x = cli_alloc(most_rows, 8 * width, "rows", diag);
    r.block = cli_alloc(block_rows, 8 * width, "rows", diag);
    r.targets = cli_alloc(block_rows, 8, "targets", diag);
    if (p->label)
        rows->target = cli_alloc(most_rows, 8, "targets", diag);
    int code = rows->x && r.block && r.targets && (!p->label || rows->target)
                   ? open_readers(&r, module, p, diag) : CLI_BAD_INPUT;
    if (code == CLI_OK && !read_all(rows, &r, diag))
        code = CLI_BAD_INPUT;
    close_readers(&r);
    if (code != CLI_OK || rows->n > 0)
        return code;
    ir_error(diag, ir_loc_file(p->data), "there are no rows to calibrate on");
    return CLI_BAD_INPUT;
}

/* -------------------------------------------------------------- evaluating */

/* The model's outputs, and then what each op with weights reads. */
struct pass_over {
    const struct ir_module *module;
    struct answers *answers; /* [n_outputs] */
    const int *op;           /* by value past the outputs: its op's number */
    struct pass_range *range; /* by op number; NULL: not wanted */
    const struct ir_value **value;
    bool after;
};

static void see_range(struct pass_range *range, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i]))
            continue;
        range->low = fmin(range->low, (double)x[i]);
        range->high = fmax(range->high, (double)x[i]);
    }
}

static void see(void *of, int value, int64_t row, const void *data)
{
    const struct pass_over *p = of;
    const int n = p->module->n_outputs;
    if (value >= n) {
        see_range(&p->range[p->op[value - n]], data,
                  ir_type_volume(&p->value[value]->type));
        return;
    }
    const struct answers *a = &p->answers[value];
    const size_t bytes = (size_t)a->width * ir_dtype_bytes(a->dtype);
    memcpy((p->after ? a->after : a->before) + (size_t)row * bytes, data,
           bytes);
}

static void go_over(const struct ir_module *module, const struct rows *rows,
                    struct answers *answers, struct pass_range *range)
{
    struct ir_arena arena;
    ir_arena_init(&arena);
    const size_t most = (size_t)module->n_outputs + (size_t)module->n_ops;
    int *op = ir_alloc_array(&arena, most, sizeof(*op));
    struct pass_over p = {
        .module = module, .answers = answers, .op = op, .range = range,
        .value = ir_alloc_array(&arena, most, sizeof(*p.value)),
        .after = !range};
    int n = 0;
    for (; n < module->n_outputs; n++)
        p.value[n] = module->outputs[n].value;
    for (int i = 0; range && i < module->n_ops; i++) {
        range[i] = (struct pass_range){INFINITY, -INFINITY};
        if (!pass_has_weights(module->ops[i]))
            continue;
        op[n - module->n_outputs] = i;
        p.value[n++] = module->ops[i]->operand[0];
    }
    const struct ir_rows batch = {IR_F64, rows->x, rows->n, rows->width, 1};
    ir_eval_values(module, n, p.value, &batch, see, &p);
    ir_arena_release(&arena);
}

static bool make_room(struct answers *answers, const struct ir_module *module,
                      int64_t n, struct ir_diag *diag)
{
    for (int i = 0; i < module->n_outputs; i++) {
        const struct ir_type *type = &module->outputs[i].value->type;
        struct answers *a = &answers[i];
        a->dtype = type->dtype;
        a->width = ir_type_volume(type);
        const uint64_t bytes =
            (uint64_t)a->width * ir_dtype_bytes(type->dtype);
        a->before = cli_alloc((uint64_t)n, bytes, "answers", diag);
        a->after = cli_alloc((uint64_t)n, bytes, "answers", diag);
        if (!a->before || !a->after)
            return false;
    }
    return true;
}

/* --------------------------------------------------------------- reporting */

static double number(const struct answers *a, const void *numbers, int64_t i)
{
    return a->dtype == IR_I32 ? (double)((const int32_t *)numbers)[i]
                              : ir_real(numbers, a->dtype, (size_t)i);
}

/* The class of a row: what it says, or the first of its largest numbers. */
static int64_t class_of(const struct answers *a, const void *numbers,
                        int64_t row)
{
    int64_t best = 0;
    if (a->dtype == IR_I32)
        return (int64_t)number(a, numbers, row);
    for (int64_t i = 1; i < a->width; i++)
        if (number(a, numbers, row * a->width + i) >
            number(a, numbers, row * a->width + best))
            best = i;
    return best;
}

/* What a NaN or an infinity became another number from, or into, is counted
 * apart. */
static void report_output(const char *name, const struct answers *a,
                          int64_t n)
{
    double sum = 0, most = 0;
    int64_t odd = 0, changed = 0;
    for (int64_t i = 0; i < n * a->width; i++) {
        const double x = number(a, a->before, i), y = number(a, a->after, i);
        const double off = fabs(x - y);
        if (isfinite(off)) {
            sum += off;
            most = fmax(most, off);
        } else {
            odd += !(x == y || (isnan(x) && isnan(y)));
        }
    }
    for (int64_t row = 0; row < n; row++)
        changed += class_of(a, a->before, row) != class_of(a, a->after, row);
    fprintf(stderr, "  %-12s ", name);
    if (a->dtype != IR_I32)
        fprintf(stderr, "off by %.3g, at most %.3g%s",
                sum / (double)(n * a->width), most, a->width > 1 ? "; " : "");
    if (a->dtype == IR_I32 || a->width > 1)
        fprintf(stderr, "%s of %" PRId64 " of %" PRId64 " rows changed",
                a->dtype == IR_I32 ? "that" : "the largest", changed, n);
    if (odd)
        fprintf(stderr, "; %" PRId64 " no longer finite, or now so", odd);
    fputs("\n", stderr);
}

/* The share of rows whose class is right, or the root of the mean squared
 * error. Rows without a target do not count. */
static double judge(const struct answers *a, const void *numbers,
                    const struct rows *rows, bool classes)
{
    double sum = 0, n = 0;
    for (int64_t row = 0; row < rows->n; row++) {
        const double t = rows->target[row];
        if (isnan(t))
            continue;
        const double off = classes ? 0 : number(a, numbers, row) - t;
        sum += classes ? (double)class_of(a, numbers, row) == t : off * off;
        n++;
    }
    return classes ? sum / n : sqrt(sum / n);
}

static void report_metric(const struct ir_module *module,
                          const struct answers *answers,
                          const struct rows *rows)
{
    const struct answers *a = &answers[judged_output(module)];
    const bool classes = a->dtype == IR_I32 || a->width > 1;
    fprintf(stderr, "  %-12s %.6g, was %.6g\n", classes ? "accuracy" : "rmse",
            judge(a, a->after, rows, classes),
            judge(a, a->before, rows, classes));
}

static void report_weights(const char *precision,
                           const struct pass_lowered *lowered)
{
    char before[32], after[32];
    fprintf(stderr, "precision %s: %d of %d ops, weights of %s are now %s\n",
            precision, lowered->n_lowered, lowered->n_ops,
            cli_size_text(lowered->bytes_before, before),
            cli_size_text(lowered->bytes_after, after));
    for (const char *line = lowered->notes.data; line && *line;) {
        const int length = (int)strcspn(line, "\n");
        fprintf(stderr, "  %.*s\n", length, line);
        line += length + 1;
    }
}

/* --------------------------------------------------------------- all of it */

bool cli_precision_fits(const struct cli_command *command,
                        const struct cli_precision *p)
{
    const char *of_rows = p->label ? "label"
                          : p->csv.ignore ? "ignore"
                          : p->csv.no_header ? "no-header" : NULL;
    const char *precision = p->precision ? p->precision : "f32";
    const bool is_f32 = !strcmp(precision, "f32");
    if (!is_f32 && strcmp(precision, "bf16") && strcmp(precision, "int8"))
        cli_usage_error(command, "option --precision: \"%s\" is not f32, bf16 "
                        "or int8", precision);
    else if (!strcmp(precision, "int8") && !p->data)
        cli_usage_error(command, "--precision int8 needs rows to find its "
                        "scales on: --calibrate CSV");
    else if (of_rows && !p->data)
        cli_usage_error(command, "--%s is of the rows of --calibrate, which is "
                        "missing", of_rows);
    else if (is_f32 && p->data)
        cli_usage_error(command, "--calibrate needs --precision bf16 or int8");
    else
        return true;
    return false;
}

/* Whether an output before this one is the same value. */
static bool is_repeated(const struct ir_module *module, int output)
{
    for (int i = 0; i < output; i++)
        if (module->outputs[i].value == module->outputs[output].value)
            return true;
    return false;
}

static int lower(struct ir_module *module, const struct cli_precision *p,
                 const struct rows *rows, struct answers *answers,
                 struct ir_diag *diag)
{
    struct pass_lowered lowered;
    struct cli_progress progress;
    struct pass_range *range = ir_realloc_array(
        NULL, (size_t)module->n_ops + 1, sizeof(*range));
    cli_progress_init(&progress);
    cli_progress_stage(&progress, "calibrating");
    if (p->data)
        go_over(module, rows, answers, range);
    const bool good = pass_lower_precision(
        module, strcmp(p->precision, "int8") ? PASS_BF16 : PASS_INT8, range,
        &lowered, diag);
    if (good && p->data)
        go_over(module, rows, answers, NULL);
    cli_progress_clear(&progress);
    if (good) {
        report_weights(p->precision, &lowered);
        if (!p->data)
            fputs("  what it costs is measured with --calibrate CSV\n",
                  stderr);
    }
    if (good && p->data) {
        fprintf(stderr, "answers on %" PRId64 " of %" PRId64 " rows of %s\n",
                rows->n, rows->n_read, p->data);
        for (int i = 0; i < module->n_outputs; i++)
            if (!is_repeated(module, i))
                report_output(module->outputs[i].name, &answers[i], rows->n);
        if (p->label)
            report_metric(module, answers, rows);
    }
    ir_text_release(&lowered.notes);
    free(range);
    return good ? CLI_OK : CLI_BAD_INPUT;
}

/* Whether a row has a label that the model could have given. */
static bool has_labels(const struct rows *rows, const struct ir_module *module,
                       const struct cli_precision *p, struct ir_diag *diag)
{
    const struct ir_output *out = &module->outputs[judged_output(module)];
    for (int64_t i = 0; i < rows->n; i++)
        if (out->n_labels ? rows->target[i] >= 0 &&
                                rows->target[i] < (double)out->n_labels
                          : !isnan(rows->target[i]))
            return true;
    return ir_error(diag, ir_loc_file(p->data), "the column \"%s\" (--label) "
                    "has no %s", p->label,
                    out->n_labels ? "class of the model" : "number");
}

int cli_lower_precision(struct ir_module *module,
                        const struct cli_precision *p, struct ir_diag *diag)
{
    struct rows rows = {0};
    bool any = false;
    if (!p->precision || !strcmp(p->precision, "f32"))
        return CLI_OK;
    for (int i = 0; i < module->n_ops; i++)
        any = any || pass_has_weights(module->ops[i]);
    if (!any) {
        ir_error(diag, ir_loc_file(NULL), "option --precision: the model has "
                 "no net's weights of f32");
        return CLI_BAD_USAGE;
    }
    struct answers *answers = ir_alloc_array(
        &diag->arena, (size_t)module->n_outputs + 1, sizeof(*answers));
    ir_renumber(module);
    int code = p->data ? read_rows(&rows, module, p, diag) : CLI_OK;
    if (code == CLI_OK && p->data &&
        ((p->label && !has_labels(&rows, module, p, diag)) ||
         !make_room(answers, module, rows.n, diag)))
        code = CLI_BAD_INPUT;
    if (code == CLI_OK)
        code = lower(module, p, &rows, answers, diag);
    if (code == CLI_OK)
        ir_set_fact(module, "precision", p->precision);
    for (int i = 0; i < module->n_outputs; i++) {
        free(answers[i].before);
        free(answers[i].after);
    }
    free(rows.x);
    free(rows.target);
    return code;
}
