/* tune.c: measures, on this machine, the strategies that a model's forests can
 * have, and notes the fastest ones in the model, as facts that the schedule
 * pass follows. */
#include "cli/cli.h"

#include "backend/backend.h"
#include "passes/passes.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    max_rows = 16384,
    max_bytes = 64 << 20, /* of rows and of outputs */
    rounds = 7,
};

/* A round is as many calls as take so long. */
#define ROUND_SECONDS 0.02

struct candidate {
    enum ir_strategy strategy;
    enum pass_rows rows;
    double estimate; /* ns a row */
    const struct tn_model *model;
    void *scratch;
    double round[rounds];
    double ns; /* measured: the median */
};

struct tune {
    struct ir_module *module;
    struct rt_library library[IR_N_STRATEGIES];
    int n_libraries;
    struct candidate candidate[PASS_N_ROWS * IR_N_STRATEGIES];
    int n_candidates;
    int64_t n_rows, width;
    float *rows;
    void *out;
};

/* ---------------------------------------------------------- candidates -- */

/* Adds up what the cost model says of all forests. Returns an exit code. */
static int estimate(const struct ir_module *module, struct pass_costs *sum,
                    struct ir_diag *diag)
{
    struct ir_module *copy = ir_module_clone(module);
    const struct pass_options none = {0};
    const bool good = pass_run_all(copy, &none, diag);
    int n_forests = 0;
    memset(sum, 0, sizeof(*sum));
    for (int i = 0; good && i < copy->n_ops; i++) {
        struct ir_forest f;
        struct pass_costs costs;
        if (copy->ops[i]->kind != IR_OP_forest)
            continue;
        ir_forest_view(copy->ops[i], &f);
        pass_estimate(&f, &costs);
        n_forests++;
        for (int m = 0; m < PASS_N_MACHINES; m++)
            for (int r = 0; r < PASS_N_ROWS; r++)
                for (int s = 0; s < IR_N_STRATEGIES; s++)
                    sum->ns[m][r][s] += pass_in_bounds(&f, (enum ir_strategy)s)
                                            ? costs.ns[m][r][s] : INFINITY;
    }
    ir_module_free(copy);
    if (n_forests > 0 || !good)
        return good ? CLI_OK : CLI_BAD_INPUT;
    ir_error(diag, ir_loc_file(NULL), "option --tune: there is nothing to "
             "measure: the model has no trees");
    return CLI_BAD_USAGE;
}

/* Compiles the model once for each strategy that can be had, for the best level
 * of this CPU once that is known. Returns an exit code. */
static int build_candidates(struct tune *t, const char *cpus,
                            struct ir_diag *diag)
{
    struct pass_costs costs;
    const char *cpu = cpus;
    const int estimated = estimate(t->module, &costs, diag);
    if (estimated != CLI_OK)
        return estimated;
    for (int s = 0; s < IR_N_STRATEGIES; s++) {
        const bool batch = isfinite(costs.ns[PASS_PLAIN][PASS_BATCH][s]);
        const bool one = isfinite(costs.ns[PASS_PLAIN][PASS_ONE][s]);
        const struct cli_build build = {
            .cpus = cpu, .strategy = batch ? ir_strategy_name[s] : NULL,
            .row_strategy = one ? ir_strategy_name[s] : NULL,
            .winograd = "off",
            .few_rows = 1}; /* no row is done alone in a batch */
        struct rt_library *library = &t->library[t->n_libraries];
        if (!batch && !one)
            continue;
        const int code = cli_build_library(library, t->module, &build, diag);
        if (code != CLI_OK)
            return code;
        t->n_libraries++;
        const struct tn_model *m = library->model;
        cpu = ir_strdup(&diag->arena, m->isa[m->isa_level()]);
        const struct be_options here = {.cpus = cpu};
        const double(*ns)[IR_N_STRATEGIES] = (const double(*)[IR_N_STRATEGIES])
            costs.ns[cli_machines(&here) >> PASS_MASKED & 1];
        for (int r = 0; r < PASS_N_ROWS; r++)
            if (isfinite(ns[r][s]))
                t->candidate[t->n_candidates++] = (struct candidate){
                    .strategy = (enum ir_strategy)s,
                    .rows = (enum pass_rows)r,
                    .estimate = ns[r][s], .model = m,
                    .scratch = rt_scratch_new(m)};
    }
    return CLI_OK;
}

/* Rows as `bench` draws them. */
static bool make_rows(struct tune *t, struct ir_diag *diag)
{
    const struct tn_model *m = t->library[0].model;
    const uint64_t out = (uint64_t)m->outputs[0].n_elements *
                         tn_dtype_bytes(m->outputs[0].dtype);
    t->width = ir_row_elements(t->module);
    const uint64_t bytes = out > 4 * (uint64_t)t->width
                               ? out : 4 * (uint64_t)t->width;
    t->n_rows = (int64_t)(max_bytes / (bytes ? bytes : 1));
    t->n_rows = t->n_rows < 1 ? 1 : t->n_rows > max_rows ? max_rows : t->n_rows;
    t->rows = cli_alloc((uint64_t)t->n_rows, 4 * (uint64_t)t->width, "rows",
                        diag);
    t->out = cli_alloc((uint64_t)t->n_rows, out, "answers", diag);
    double *row = cli_alloc((uint64_t)t->width, sizeof(*row), "numbers", diag);
    if (t->rows && t->out && row) {
        struct ir_probe *probe = pass_probe_new(t->module, 1);
        const int64_t first = ir_probe_count(probe);
        for (int64_t r = 0; r < t->n_rows; r++) {
            ir_probe_row(probe, first + r, row);
            for (int64_t i = 0; i < t->width; i++)
                t->rows[r * t->width + i] = (float)row[i];
        }
        ir_probe_free(probe);
    }
    free(row);
    return t->rows && t->out && row;
}

/* ----------------------------------------------------------- measuring -- */

/* Predicts `n` rows from row `at` on. */
static void call(const struct tune *t, const struct candidate *c, int64_t at,
                 int64_t n)
{
    const float *rows = t->rows + at * t->width;
    for (int64_t r = 0; c->rows == PASS_ONE && r < n; r++)
        c->model->predict_one_f32(0, rows + r * t->width, t->out, c->scratch);
    const int64_t step = c->rows == PASS_FEW ? 1 : n;
    for (int64_t r = 0; c->rows != PASS_ONE && r < n; r += step)
        c->model->predict_f32(0, rows + r * t->width, (uint64_t)step, t->width,
                              1, t->out, c->scratch);
}

static double measure_round(const struct tune *t, const struct candidate *c)
{
    const int64_t most = c->rows == PASS_FEW ? 16 : 1024;
    const int64_t step = t->n_rows < most ? t->n_rows : most;
    const double start = cli_seconds();
    double spent = 0;
    int64_t done = 0, at = 0;
    while (spent < ROUND_SECONDS) {
        const int64_t n = t->n_rows - at < step ? t->n_rows - at : step;
        call(t, c, at, n);
        done += n;
        at = at + n < t->n_rows ? at + n : 0;
        spent = cli_seconds() - start;
    }
    return spent / (double)done * 1e9;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* In turns, so that a slow moment of the machine hits all of them. */
static void measure(struct tune *t)
{
    struct cli_progress progress;
    cli_progress_init(&progress);
    for (int k = 0; k < rounds; k++)
        for (int i = 0; i < t->n_candidates; i++) {
            cli_progress_show(&progress, "measuring",
                              k * t->n_candidates + i,
                              rounds * t->n_candidates);
            t->candidate[i].round[k] = measure_round(t, &t->candidate[i]);
        }
    cli_progress_clear(&progress);
    for (int i = 0; i < t->n_candidates; i++) {
        struct candidate *c = &t->candidate[i];
        qsort(c->round, rounds, sizeof(c->round[0]), by_value);
        c->ns = c->round[rounds / 2];
    }
}

/* ------------------------------------------------------------- choosing -- */

static const struct candidate *fastest(const struct tune *t,
                                       enum pass_rows rows)
{
    const struct candidate *best = NULL;
    for (int i = 0; i < t->n_candidates; i++)
        if (t->candidate[i].rows == rows &&
            (!best || t->candidate[i].ns < best->ns))
            best = &t->candidate[i];
    return best;
}

static void print_table(const struct tune *t)
{
    const struct tn_model *m = t->library[0].model;
    fprintf(stderr, "ns a row at %s, %" PRId64 " drawn rows\n",
            m->isa[m->isa_level()], t->n_rows);
    fputs("rows       strategy   measured  estimated\n", stderr);
    static const char *const names[] = {"batch", "one", "few"};
    for (int r = 0; r < PASS_N_ROWS; r++)
        for (int i = 0; i < t->n_candidates; i++) {
            const struct candidate *c = &t->candidate[i];
            const bool best =
                r != PASS_FEW && c == fastest(t, (enum pass_rows)r);
            if (c->rows == (enum pass_rows)r)
                fprintf(stderr, "%-9s  %-9s  %8.1f  %9.1f%s\n", names[r],
                        ir_strategy_name[c->strategy], c->ns, c->estimate,
                        best ? "  fastest" : "");
        }
}

static void note(struct tune *t)
{
    const struct candidate *batch = fastest(t, PASS_BATCH);
    const struct candidate *one = fastest(t, PASS_ONE);
    double few = INFINITY;
    for (int i = 0; i < t->n_candidates; i++)
        if (t->candidate[i].rows == PASS_FEW &&
            t->candidate[i].strategy == batch->strategy)
            few = t->candidate[i].ns;
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64,
             pass_few_rows(batch->ns, one->ns, few, one->strategy));
    ir_set_fact(t->module, PASS_TUNED_STRATEGY,
                ir_strategy_name[batch->strategy]);
    ir_set_fact(t->module, PASS_TUNED_ROW_STRATEGY,
                ir_strategy_name[one->strategy]);
    ir_set_fact(t->module, PASS_TUNED_FEW_ROWS, text);
}

int cli_tune(struct ir_module *module, const char *cpus, struct ir_diag *diag)
{
    struct tune t = {.module = module};
    int code = build_candidates(&t, cpus, diag);
    if (code == CLI_OK && !make_rows(&t, diag))
        code = CLI_BAD_INPUT;
    if (code == CLI_OK) {
        measure(&t);
        print_table(&t);
        note(&t);
    }
    for (int i = 0; i < t.n_candidates; i++)
        free(t.candidate[i].scratch);
    for (int i = 0; i < t.n_libraries; i++)
        rt_library_close(&t.library[i]);
    free(t.rows);
    free(t.out);
    return code;
}

/* ---------------------------------------------------------------- costs -- */

static void put_ns(struct cli_json *json, const char *rows,
                   const struct ir_forest *f, const double *ns)
{
    cli_json_open(json, rows, '{');
    for (int s = 0; s < IR_N_STRATEGIES; s++)
        if (isfinite(ns[s]) && pass_in_bounds(f, (enum ir_strategy)s))
            cli_json_real(json, ir_strategy_name[s], ns[s]);
    cli_json_close(json, '}');
}

static void put_costs(struct cli_json *json, const struct ir_op *op, int number)
{
    static const char *const rows[] = {"batch", "one", "few"};
    static const char *const machines[] = {"plain", "masked"};
    struct ir_forest f;
    struct pass_costs costs;
    ir_forest_view(op, &f);
    pass_estimate(&f, &costs);
    cli_json_open(json, NULL, '{');
    cli_json_int(json, "op", number);
    cli_json_string(json, "strategy", ir_attr_string(op, "strategy"));
    cli_json_string(json, "row_strategy", ir_attr_string(op, "row_strategy"));
    for (int m = 0; m < PASS_N_MACHINES; m++) {
        cli_json_open(json, machines[m], '{');
        for (int r = 0; r < PASS_N_ROWS; r++)
            put_ns(json, rows[r], &f, costs.ns[m][r]);
        cli_json_close(json, '}');
    }
    cli_json_open(json, "terms", '{');
    for (int s = 0; s < IR_N_STRATEGIES; s++) {
        if (!isfinite(costs.ns[PASS_PLAIN][PASS_BATCH][s]))
            continue;
        cli_json_open(json, ir_strategy_name[s], '{');
        for (int k = 0; k < PASS_N_TERMS; k++)
            cli_json_real(json, pass_term_name[k], costs.term[s][k]);
        cli_json_close(json, '}');
    }
    cli_json_close(json, '}');
    cli_json_close(json, '}');
}

void cli_print_costs(const struct ir_module *module)
{
    struct cli_json json;
    cli_json_init(&json);
    cli_json_open(&json, NULL, '[');
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_forest)
            put_costs(&json, module->ops[i], i);
    cli_json_close(&json, ']');
    cli_json_print(&json);
    cli_json_release(&json);
}
