/* schedule.c: how each forest is computed, by a cost model.
 *
 * The constants are nanoseconds on one Zen 3 core (AVX2); the models they come
 * from are named beside them. They only have to be right enough to rank the
 * strategies. Bounds on code keep the time to compile in proportion.
 */
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* `select`: a node of 8-bit codes for a row. NYC_taxi, 100 trees x 31 leaves
 * on 5 numbers, takes 52 ns a row: 17 for its nodes, 25 to add leaves, 10 to
 * write codes. 16-bit codes take twice as long. */
#define SELECT_NODE_NS 0.006
#define SELECT_TREE_NS 0.25
/* `scan`: 1,000 trees x 31 leaves on 50 numbers take 1,345 ns a row, and 1,064
 * by `select`; x 255 leaves 6,840. */
#define SCAN_NODE_NS 0.0245
#define SCAN_TREE_NS 0.45
/* A code column of up to 255 cuts, and one of sets (airline: 313 of those). */
#define SELECT_CUTS_NS 2.0
#define SELECT_SETS_NS 0.15
/* `branch`, a level: NYC_taxi takes 720 ns for 100 trees, 6.4 levels each. A
 * level with a set test: airline takes 3,650 ns for 100 x 6.1. */
#define BRANCH_LEVEL_NS 1.1
#define BRANCH_SET_NS 6.0
/* `walk`, a level: 3,700 ns for NYC_taxi, 8,300 ns for airline. */
#define WALK_LEVEL_NS 5.8
#define WALK_SET_NS 14.0

/* `oblivious`, a tree and a test of 8-bit codes: CatBoost's models of Higgs,
 * 1,000 trees of depth 6, take 390 ns a row on 28 numbers, 95 of it for codes. */
#define OBLIVIOUS_TREE_NS 0.2
#define OBLIVIOUS_TEST_NS 0.015

/* `match`, a cluster of 16 exits, and one of 32. */
#define MATCH_NS 2.0
#define MATCH_WIDE_NS 3.0

/* Nodes that are turned into code at most. `select` takes about 54 bytes of
 * code and 0.2 ms of compiling a node at each ISA level, `branch` 0.4 ms in all:
 * what is larger is done by tables, which cost nothing to compile. */
#define SELECT_MAX_NODES 4096
/* A tree is one function, whose register allocation takes more than linear
 * time: 33 s for a chain of 10,000 nodes, 2 s for one of 2,000. */
#define SELECT_MAX_TREE_NODES 2048
#define BRANCH_MAX_NODES 8192
#define ROW_BRANCH_MAX_NODES 8192

/* Nodes of a function: register allocation takes more than linear time. */
#define CHUNK_NODES 512

/* A tile's codes stay within a third of a 48 KB L1 data cache. */
#define TILE_BYTES 16384
#define TILE_LEAST 64
#define TILE_MOST 1024

/* ---------------------------------------------------------------- costs -- */

/* The sum over the trees of the mean depth of a leaf. */
static double sum_depths(const struct ir_forest *f)
{
    struct step {
        int32_t node, depth;
    } *stack = ir_realloc_array(NULL, (size_t)f->n_nodes + 1, sizeof(*stack));
    double sum = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t first = f->tree_start[t];
        double depths = 0, leaves = 0;
        size_t n = 0;
        stack[n++] = (struct step){first < f->tree_start[t + 1] ? 0 : ~0, 0};
        while (n > 0) {
            const struct step s = stack[--n];
            if (s.node < 0) {
                depths += s.depth;
                leaves++;
                continue;
            }
            const int32_t i = first + s.node;
            stack[n++] = (struct step){f->right[i], s.depth + 1};
            stack[n++] = (struct step){f->left[i], s.depth + 1};
        }
        sum += depths / leaves;
    }
    free(stack);
    return sum;
}

/* What trees of few tests cost by tables, without the codes. */
static double table_cost(const struct ir_forest *f)
{
    int32_t tests[IR_MAX_TREE_TESTS];
    double cost = 0;
    if (ir_table_bytes(f) < 0)
        return INFINITY;
    for (int t = 0; t < f->n_trees; t++)
        cost += OBLIVIOUS_TREE_NS + OBLIVIOUS_TEST_NS * (f->code_bits / 8) *
                                        ir_tree_tests(f, t, tests);
    return cost;
}

/* What a row costs by each strategy. */
struct costs {
    double select, scan, oblivious, branch, walk;
};

static struct costs estimate(const struct ir_forest *f)
{
    const double depths = sum_depths(f);
    double sets = 0, columns = 0;
    for (int64_t i = 0; i < f->n_nodes; i++)
        sets += (f->flags[i] & IR_NODE_CATEGORICAL) != 0;
    for (int c = 0; c < f->n_code_columns; c++)
        columns += f->column_flags[c] & IR_NODE_CATEGORICAL ? SELECT_SETS_NS
                                                            : SELECT_CUTS_NS;
    const double share = f->n_nodes > 0 ? sets / f->n_nodes : 0;
    return (struct costs){
        .select = SELECT_NODE_NS * f->n_nodes * (f->code_bits / 8) +
                  SELECT_TREE_NS * f->n_trees + columns,
        .oblivious = table_cost(f) + columns,
        .scan = SCAN_NODE_NS * f->n_nodes * (f->code_bits / 8) +
                SCAN_TREE_NS * f->n_trees + columns,
        .branch = depths * (BRANCH_LEVEL_NS * (1 - share) +
                            BRANCH_SET_NS * share),
        .walk = depths * (WALK_LEVEL_NS * (1 - share) + WALK_SET_NS * share),
    };
}

static int32_t largest_tree(const struct ir_forest *f)
{
    int32_t most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t n = f->tree_start[t + 1] - f->tree_start[t];
        most = n > most ? n : most;
    }
    return most;
}

static const char *choose_strategy(const struct ir_forest *f)
{
    if (f->stop_every)
        return f->code_bits != 0 && !f->coef_start ? "scan" : "walk";
    const struct costs cost = estimate(f);
    const bool can_scan = f->code_bits != 0 && !f->coef_start;
    const bool can_select = can_scan && f->n_nodes <= SELECT_MAX_NODES &&
                            largest_tree(f) <= SELECT_MAX_TREE_NODES;
    const bool can_branch = f->n_nodes <= BRANCH_MAX_NODES;
    const double rows = can_branch ? cost.branch : cost.walk;
    if (cost.oblivious <= rows && cost.oblivious <= cost.scan &&
        (!can_select || cost.oblivious < cost.select))
        return "oblivious";
    if (can_select && (f->n_nodes == 0 || cost.select <= rows))
        return "select";
    if (can_scan && cost.scan <= rows)
        return "scan";
    return can_branch ? "branch" : "walk";
}

/* Exits of a cluster of the strategy match. */
static int choose_lanes(const struct ir_forest *f)
{
    double cost[2] = {0, 0};
    struct ir_cut cut = {0};
    for (int t = 0; t < f->n_trees; t++)
        for (int wide = 0; wide < 2; wide++) {
            ir_cut_tree(&cut, f, t, wide ? 32 : 16);
            cost[wide] += cut.depth * (wide ? MATCH_WIDE_NS : MATCH_NS);
        }
    ir_cut_release(&cut);
    return cost[1] < cost[0] ? 32 : 16;
}

/* Rows that a tile holds: a multiple of the rows that a register holds. */
static int64_t choose_tile_rows(const struct ir_forest *f, bool with_codes)
{
    const int64_t margins = (int64_t)f->n_targets *
                            (int64_t)ir_dtype_bytes(f->sum_dtype);
    const int64_t codes = (int64_t)f->n_code_columns * (f->code_bits / 8);
    const int64_t bytes = with_codes && codes > 0 ? codes : margins;
    const int64_t rows = TILE_BYTES / (bytes > 0 ? bytes : 1) / TILE_LEAST *
                         TILE_LEAST;
    return rows < TILE_LEAST ? TILE_LEAST : rows > TILE_MOST ? TILE_MOST : rows;
}

/* -------------------------------------------------------------- options -- */

bool pass_uses_codes(const char *strategy)
{
    return !strcmp(strategy, "select") || !strcmp(strategy, "scan") ||
           !strcmp(strategy, "oblivious") || !strcmp(strategy, "match");
}

static bool is_one_of(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool check_options(const struct pass_options *options,
                          struct ir_diag *diag)
{
    static const char *const names[] = {"branch", "walk", "select", "scan",
                                        "oblivious"};
    static const char *const row_names[] = {"branch", "walk", "match",
                                            "oblivious"};
    if (options->strategy && !is_one_of(options->strategy, names, 5))
        return ir_error(diag, ir_loc_file(NULL),
                        "there is no batch strategy named \"%s\" (there are: "
                        "branch, walk, select, scan, oblivious)",
                        options->strategy);
    if (options->row_strategy && !is_one_of(options->row_strategy, row_names, 4))
        return ir_error(diag, ir_loc_file(NULL),
                        "there is no one-row strategy named \"%s\" (there "
                        "are: branch, walk, match, oblivious)",
                        options->row_strategy);
    return true;
}

/* Whether the strategy asked for can be had for this forest. */
static bool check_forced(const struct ir_op *op, const struct ir_forest *f,
                         const char *strategy, struct ir_diag *diag)
{
    if (!strategy || !pass_uses_codes(strategy))
        return true;
    if (f->coef_start)
        return ir_error(diag, op->loc, "the strategy %s cannot be had "
                        "for a forest with linear leaves", strategy);
    if (f->code_bits == 0)
        return ir_error(diag, op->loc, "the strategy %s cannot be had "
                        "for a forest without codes (run quantise first; "
                        "there are none for more than 65535 cuts a feature "
                        "or 65536 leaves a tree)", strategy);
    if (!strcmp(strategy, "oblivious") && ir_table_bytes(f) < 0)
        return ir_error(diag, op->loc, "the strategy oblivious cannot be had "
                        "for a forest with more than %d different tests in a "
                        "tree, or tables of more than %d MB",
                        IR_MAX_TREE_TESTS, IR_MAX_TABLE_BYTES >> 20);
    return true;
}

static bool check_stop(const struct ir_op *op, const struct ir_forest *f,
                       const char *strategy, struct ir_diag *diag)
{
    return !f->stop_every || !strategy || !strcmp(strategy, "walk") ||
           !strcmp(strategy, "scan") ||
           ir_error(diag, op->loc, "the strategy %s cannot be had with early "
                    "exit", strategy);
}

/* --------------------------------------------------------------- the op -- */

static bool schedule_forest(struct ir_module *module, struct ir_op *op,
                            const struct pass_options *options,
                            struct ir_diag *diag)
{
    struct ir_forest f;
    ir_forest_view(op, &f);
    if (!check_forced(op, &f, options->strategy, diag) ||
        !check_forced(op, &f, options->row_strategy, diag) ||
        !check_stop(op, &f, options->strategy, diag) ||
        !check_stop(op, &f, options->row_strategy, diag))
        return false;
    const char *strategy = options->strategy ? options->strategy
                                             : choose_strategy(&f);
    const char *row_strategy = options->row_strategy ? options->row_strategy
                               : f.stop_every ? "walk"
                               : f.n_nodes <= ROW_BRANCH_MAX_NODES ? "branch"
                                                                   : "walk";
    ir_set_attr(module, op, ir_string("strategy", strategy));
    ir_set_attr(module, op, ir_string("row_strategy", row_strategy));
    if (!strcmp(row_strategy, "match"))
        ir_set_attr(module, op, ir_int("row_lanes", choose_lanes(&f)));
    ir_set_attr(module, op,
                ir_int("tile_rows", choose_tile_rows(
                                        &f, pass_uses_codes(strategy))));
    ir_set_attr(module, op, ir_int("chunk_nodes", CHUNK_NODES));
    return true;
}

bool pass_schedule(struct ir_module *module, const struct pass_options *options,
                   struct ir_diag *diag)
{
    if (!check_options(options, diag))
        return false;
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_forest &&
            !schedule_forest(module, module->ops[i], options, diag))
            return false;
    return true;
}
