/* schedule.c: how each forest is computed: by the strategy that the cost model
 * (costs.c) finds the cheapest, or that was measured to be so (`--tune`),
 * within bounds on code that keep the time to compile in proportion. */
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Nodes that are turned into code at most. `select` takes about 54 bytes of
 * code and 0.2 ms of compiling a node at each ISA level, `branch` 0.4 ms in
 * all: what is larger is done by tables, which cost little to compile. */
#define SELECT_MAX_NODES 4096
/* A tree is one function, whose register allocation takes more than linear
 * time: 33 s for a chain of 10,000 nodes, 2 s for one of 2,000. */
#define SELECT_MAX_TREE_NODES 2048
#define BRANCH_MAX_NODES 8192

/* Nodes of a function: register allocation takes more than linear time. */
#define CHUNK_NODES 512

/* A tile's codes stay within a third of a 48 KB L1 data cache. */
#define TILE_BYTES 16384
#define TILE_LEAST 64
#define TILE_MOST 1024
/* Those of `match` are read in turn, and only its tables are to stay near. */
#define TILE_ROWS_BYTES 65536

/* Tables of `oblivious` are as large as the leaves for symmetric trees; 15
 * leaves that 14 different tests lead to would take 2^14 entries. */
#define TABLE_MOST_TIMES 32

/* What one of some rows takes by `oblivious`, which does four at a time, of
 * what a single one does. By `match` it is hardly less. */
#define OBLIVIOUS_FEW 0.6

/* What a tile with one row takes, of what costs.def says: 0.8 to 0.9 for some
 * models of the benchmark. */
#define FEW_SHARE 0.85

/* So many rows are a tile, whatever the cost model says: it is not so right. */
#define FEW_MOST 64

static int32_t largest_tree(const struct ir_forest *f)
{
    int32_t most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t n = f->tree_start[t + 1] - f->tree_start[t];
        most = n > most ? n : most;
    }
    return most;
}

bool pass_in_bounds(const struct ir_forest *f, enum ir_strategy s)
{
    const int64_t leaf_bytes = (int64_t)f->n_leaves * f->leaf_width *
                               (int64_t)ir_dtype_bytes(f->sum_dtype);
    if (s == IR_OBLIVIOUS)
        return ir_table_bytes(f) <= TABLE_MOST_TIMES * leaf_bytes;
    if (s == IR_SELECT)
        return f->n_nodes <= SELECT_MAX_NODES &&
               largest_tree(f) <= SELECT_MAX_TREE_NODES;
    return s != IR_BRANCH || f->n_nodes <= BRANCH_MAX_NODES;
}

/* The least that any strategy takes there; walk is one which every forest can
 * have. */
static double least_ns(const struct ir_forest *f, const double *ns)
{
    double least = ns[IR_WALK];
    for (int s = 0; s < IR_N_STRATEGIES; s++)
        if (pass_in_bounds(f, (enum ir_strategy)s) && ns[s] < least)
            least = ns[s];
    return least;
}

/* One strategy has to do on all machines that run the library: the one that is
 * never far from what is fastest there. */
static enum ir_strategy choose_strategy(const struct ir_forest *f,
                                        const struct pass_costs *costs,
                                        unsigned machines, bool one_row)
{
    double worst[IR_N_STRATEGIES] = {0}; /* times the fastest, on any machine */
    enum ir_strategy best = IR_WALK;
    for (int m = 0; m < PASS_N_MACHINES; m++) {
        const double *ns = costs->ns[m][one_row];
        const double least = least_ns(f, ns);
        for (int s = 0; s < IR_N_STRATEGIES; s++)
            if (machines >> m & 1 && ns[s] > worst[s] * least)
                worst[s] = ns[s] / least;
    }
    for (int s = 0; s < IR_N_STRATEGIES; s++)
        if (pass_in_bounds(f, (enum ir_strategy)s) && worst[s] < worst[best])
            best = (enum ir_strategy)s;
    return best;
}

/* Rows that a tile holds: a multiple of the rows that a register holds. */
static int64_t choose_tile_rows(const struct ir_forest *f, enum ir_strategy s)
{
    if (s == IR_SLICE)
        return IR_SLICE_MOST_ROWS;
    const bool with_codes = pass_has_code_tiles(ir_strategy_name[s]);
    const int64_t margins = (int64_t)f->n_targets *
                            (int64_t)ir_dtype_bytes(f->sum_dtype);
    const int64_t codes = (int64_t)f->n_code_columns * (f->code_bits / 8);
    const bool in_turn = s == IR_MATCH16 || s == IR_MATCH32;
    const int64_t bytes = in_turn ? codes + margins
                          : with_codes && codes > 0 ? codes : margins;
    const int64_t rows = (in_turn ? TILE_ROWS_BYTES : TILE_BYTES) /
                         (bytes > 0 ? bytes : 1) / TILE_LEAST * TILE_LEAST;
    return rows < TILE_LEAST ? TILE_LEAST : rows > TILE_MOST ? TILE_MOST : rows;
}

int64_t pass_few_rows(double batch, double one, double few,
                      enum ir_strategy row)
{
    if (!isfinite(few))
        return 0;
    one *= row == IR_OBLIVIOUS ? OBLIVIOUS_FEW : 1;
    /* few = n one: a tile's work is much the same until it is full */
    const double n = one > batch ? few / one : FEW_MOST;
    return n <= 1 ? 1 : n >= FEW_MOST ? FEW_MOST : (int64_t)ceil(n);
}

/* -------------------------------------------------------------- options -- */

bool pass_has_code_tiles(const char *strategy)
{
    return !strcmp(strategy, "select") || !strcmp(strategy, "slice") ||
           !strcmp(strategy, "oblivious");
}

/* The names of the strategies for batches, or for one row. */
static void put_names(struct ir_text *text, bool one_row)
{
    for (int s = 0, n = 0; s < IR_N_STRATEGIES; s++)
        if (!one_row || (s != IR_SELECT && s != IR_SLICE))
            ir_text_printf(text, "%s%s", n++ ? ", " : "", ir_strategy_name[s]);
}

bool pass_check_strategy(const char *name, bool one_row, struct ir_diag *diag)
{
    const int s = name ? ir_strategy_find(name) : IR_WALK;
    if (s >= 0 && !(one_row && (s == IR_SELECT || s == IR_SLICE)))
        return true;
    struct ir_text names;
    ir_text_init(&names);
    put_names(&names, one_row);
    ir_error(diag, ir_loc_file(NULL), "there is no %s strategy named \"%s\" "
             "(there are: %s)", one_row ? "one-row" : "batch", name,
             names.data);
    ir_text_release(&names);
    return false;
}

static unsigned machines_of(const struct pass_options *options)
{
    return options->machines ? options->machines : (1u << PASS_N_MACHINES) - 1;
}

/* The strategy asked for by an option, or found by measuring, or chosen; -1
 * when what is asked for cannot be had. */
static int decide(const struct ir_module *module, const struct ir_op *op,
                  const struct ir_forest *f, const struct pass_costs *costs,
                  const struct pass_options *options, bool one_row,
                  struct ir_diag *diag)
{
    const char *asked = one_row ? options->row_strategy : options->strategy;
    const char *tuned = ir_get_fact(
        module, one_row ? PASS_TUNED_ROW_STRATEGY : PASS_TUNED_STRATEGY);
    int s = ir_strategy_find(asked ? asked : tuned ? tuned : "");
    const char *why =
        s < 0 ? NULL : ir_strategy_obstacle(f, (enum ir_strategy)s, one_row);
    if (asked && why) {
        ir_error(diag, op->loc, "the strategy %s cannot be had for a "
                 "forest%s", asked, why);
        return -1;
    }
    return s >= 0 && !why ? s
                          : (int)choose_strategy(f, costs, machines_of(options),
                                                 one_row);
}

/* From how many rows on they are a tile: asked for, or measured for what was
 * found to be the fastest, or reckoned. */
static int64_t choose_few_rows(const struct ir_module *module,
                               const double ns[][IR_N_STRATEGIES],
                               const struct pass_options *options, int s,
                               int row)
{
    const char *tuned = ir_get_fact(module, PASS_TUNED_FEW_ROWS);
    if (!pass_has_code_tiles(ir_strategy_name[s]))
        return 0;
    if (options->few_rows)
        return options->few_rows;
    if (tuned && !options->strategy && !options->row_strategy)
        return (int64_t)fmin(fmax(strtod(tuned, NULL), 1), FEW_MOST);
    return pass_few_rows(ns[PASS_BATCH][s], ns[PASS_ONE][row],
                         FEW_SHARE * ns[PASS_FEW][s], (enum ir_strategy)row);
}

/* --------------------------------------------------------------- the op -- */

static bool schedule_forest(struct ir_module *module, struct ir_op *op,
                            const struct pass_options *options,
                            struct ir_diag *diag)
{
    struct ir_forest f;
    struct pass_costs costs;
    ir_forest_view(op, &f);
    pass_estimate(&f, &costs);
    const int s = decide(module, op, &f, &costs, options, false, diag);
    const int row = decide(module, op, &f, &costs, options, true, diag);
    if (s < 0 || row < 0)
        return false;
    /* What depends on how long a row takes is for the newest machine. */
    const enum pass_machine newest =
        machines_of(options) >> PASS_MASKED & 1 ? PASS_MASKED : PASS_PLAIN;
    const double(*ns)[IR_N_STRATEGIES] =
        (const double(*)[IR_N_STRATEGIES])costs.ns[newest];
    ir_set_attr(module, op, ir_string("strategy", ir_strategy_name[s]));
    ir_set_attr(module, op, ir_string("row_strategy", ir_strategy_name[row]));
    ir_set_attr(module, op,
                ir_int("tile_rows",
                       choose_tile_rows(&f, (enum ir_strategy)s)));
    ir_set_attr(module, op,
                ir_int("few_rows",
                       choose_few_rows(module, ns, options, s, row)));
    ir_set_attr(module, op,
                ir_int("batch_ns", (int64_t)ceil(ns[PASS_BATCH][s])));
    ir_set_attr(module, op, ir_int("chunk_nodes", CHUNK_NODES));
    return true;
}

bool pass_schedule(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag)
{
    if (!pass_check_strategy(options->strategy, false, diag) ||
        !pass_check_strategy(options->row_strategy, true, diag))
        return false;
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_forest &&
            !schedule_forest(module, module->ops[i], options, diag))
            return false;
    return true;
}
