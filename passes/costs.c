/* costs.c: the cost model: what a row costs by each strategy, as a sum of terms
 * that are read off the forest, each with a measured number of nanoseconds.
 *
 * The numbers in costs.def are of one Zen 4 core, held to AVX2 or with AVX-512.
 * They only have to be right enough to rank the strategies; `--tune` measures
 * instead. */
#include "passes/rewrite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const pass_term_name[PASS_N_TERMS] = {
#define NAME(name) #name,
    PASS_TERMS(NAME)
#undef NAME
};

/* Tables of up to so many bytes are near. */
#define NEAR_BYTES 32768.0

/* Bytes of codes that are looked up in registers: backend/emit_tests.c. And
 * features whose set tests can be words: backend/set_words.c. */
#define MOST_CODES 128
#define MOST_ROW 256 /* of numbers: backend/emit_raw.c */
#define MOST_SET_RUNS 8

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

/* How many features are tested. */
static int count_features(const struct ir_forest *f)
{
    bool *seen = ir_realloc_array(NULL, (size_t)f->n_features + 1, 1);
    int n = 0;
    memset(seen, 0, (size_t)f->n_features + 1);
    for (int64_t i = 0; i < f->n_nodes; i++) {
        n += !seen[f->feature[i]];
        seen[f->feature[i]] = true;
    }
    free(seen);
    return n;
}

/* Terms of all strategies. */
static void count_forest(const struct ir_forest *f, double *term)
{
    const int code = f->code_bits / 8;
    double sets = 0;
    for (int64_t i = 0; i < f->n_nodes; i++)
        sets += (f->flags[i] & IR_NODE_CATEGORICAL) != 0;
    const double share = f->n_nodes > 0 ? sets / f->n_nodes : 0;
    const double depths = sum_depths(f);
    term[PASS_one] = 1;
    term[PASS_trees] = f->n_trees;
    term[PASS_adds] = (double)f->n_trees * f->leaf_width;
    term[PASS_nodes] = (double)f->n_nodes * code;
    term[PASS_levels] = depths * (1 - share);
    term[PASS_set_levels] = depths * share;
    term[PASS_far_levels] = depths * log2(1 + f->n_nodes * 8 / NEAR_BYTES);
    term[PASS_far_row] =
        count_features(f) *
        log2(1 + f->n_features * (double)ir_dtype_bytes(f->in_dtype) / 4096);
    for (int c = 0; c < f->n_code_columns; c++) {
        int levels = 1;
        for (int n = f->cut_start[c + 1] - f->cut_start[c]; n >= 16; n /= 16)
            levels++;
        if (f->column_flags[c] & IR_NODE_CATEGORICAL)
            term[PASS_set_columns] += code;
        else
            term[PASS_cut_columns] += levels;
    }
}

/* Registers of 16 bytes that codes fill; many where they are in memory. */
static int count_registers(int bytes)
{
    return bytes > MOST_CODES ? 100 : bytes > 0 ? (bytes + 15) / 16 : 1;
}

/* Of one row: how the codes that n groups of `lanes` tests ask for are found;
 * or, if `words`, where that is cheaper, what set tests answer: see
 * backend/set_words.c. */
static void count_lookups(const struct ir_forest *f, double n, int lanes,
                          bool words, double *term)
{
    const int code = f->code_bits / 8;
    int runs = 0, numeric = 0;
    for (int c = 0; c < f->n_code_columns; c++)
        if (!(f->column_flags[c] & IR_NODE_CATEGORICAL))
            numeric++;
        else if (c == 0 || f->column_feature[c] != f->column_feature[c - 1] ||
                 !(f->column_flags[c - 1] & IR_NODE_CATEGORICAL))
            runs++;
    int registers = count_registers(f->n_code_columns * code);
    const int without = count_registers(numeric * code);
    if (words && runs > 0 && runs <= MOST_SET_RUNS &&
        2 * runs + 3 * without < 2 + 3 * registers) {
        term[PASS_words] = n * runs;
        term[PASS_set_columns] = runs;
        registers = without;
    }
    if (registers * 16 <= MOST_CODES)
        term[PASS_shuffles] = n * registers * code;
    else
        term[PASS_loads] = n * lanes;
}

static void count_tests(const struct ir_forest *f, double *term)
{
    int32_t node[IR_MAX_TREE_TESTS];
    double tests = 0;
    for (int t = 0; t < f->n_trees; t++)
        tests += ir_tree_tests(f, t, node);
    term[PASS_tests] = tests * (f->code_bits / 8);
    term[PASS_far_adds] =
        term[PASS_adds] * log2(1 + ir_table_bytes(f) / NEAR_BYTES);
    count_lookups(f, tests / 32, 32, false, term);
}

/* Set tests among the nodes of a cluster. */
static int count_sets(const struct ir_forest *f, const struct ir_cluster *c)
{
    int n = 0;
    for (int i = 0; i < c->n_nodes; i++)
        n += (f->flags[c->node[i]] & IR_NODE_CATEGORICAL) != 0;
    return n;
}

/* Of one row by raw: how the numbers that n groups of `lanes` tests ask for are
 * found, by loads or, where there are masks and a row of f32 fits, permutes. */
static void count_numbers(const struct ir_forest *f, double n, int lanes,
                          double *term)
{
    const int64_t bytes = f->n_features * (int64_t)sizeof(float);
    term[bytes > MOST_ROW ? PASS_loads : PASS_shuffles] =
        bytes > MOST_ROW ? n * lanes : n;
}

/* Terms of match, and of raw, of clusters of `lanes` exits. */
static void count_steps(const struct ir_forest *f, int lanes, bool raw,
                        double *term)
{
    const double test_bytes = raw ? 1 + (double)ir_dtype_bytes(f->in_dtype) : 4;
    double sets = 0, clusters = 0;
    struct ir_cut cut = {0};
    double steps = 0, bytes = 0;
    for (int t = 0; t < f->n_trees; t++) {
        double depths = 0, leaves = 0;
        ir_cut_tree(&cut, f, t, lanes);
        clusters += cut.n;
        for (int k = 0; k < cut.n; k++)
            sets += count_sets(f, &cut.cluster[k]);
        for (int k = 0; k < cut.n; k++)
            for (int i = 0; i < cut.cluster[k].n_exits; i++)
                if (cut.cluster[k].exit[i] < 0) {
                    depths += cut.cluster[k].depth;
                    leaves++;
                }
        steps += depths / leaves;
        bytes += cut.n * (double)lanes * (lanes / 8 + test_bytes);
    }
    ir_cut_release(&cut);
    term[PASS_steps] = steps;
    term[PASS_more_steps] = steps - f->n_trees;
    term[PASS_far_steps] = steps * log2(1 + bytes / NEAR_BYTES);
    if (raw)
        count_numbers(f, steps, lanes, term);
    else
        count_lookups(f, steps, lanes, true, term);
    if (raw && clusters > 0)
        term[PASS_sets] = steps * sets / clusters;
}

/* Terms of slice. */
static void count_blends(const struct ir_forest *f, double *term)
{
    struct ir_circuit circuit = {0};
    double blends = 0, wide = 0;
    for (int t = 0; t < f->n_trees; t++) {
        ir_make_circuit(&circuit, f, t, IR_BYTE_BITS);
        blends += circuit.n_blends;
        wide += circuit.n_bits > 8;
    }
    term[PASS_blends] = blends;
    term[PASS_tests] = f->cut_start[f->n_code_columns] +
                       f->column_set_start[f->n_code_columns];
    term[PASS_far_adds] = wide > 0 ? f->n_trees : 0;
    ir_circuit_release(&circuit);
}

static double sum_costs(const double *term, enum pass_machine machine,
                        enum pass_rows of, enum ir_strategy s)
{
    double sum = 0;
#define COST(rows, strategy, name, plain, masked)                             \
    if (of == PASS_##rows && s == IR_##strategy)                              \
        sum += (machine == PASS_PLAIN ? (plain) : (masked)) *                 \
               term[PASS_##name];
#include "passes/costs.def"
#undef COST
    return sum;
}

static bool has_rows(const struct ir_forest *f, enum ir_strategy s,
                     enum pass_rows rows)
{
    if (rows == PASS_FEW && !pass_has_code_tiles(ir_strategy_name[s]))
        return false;
    return !ir_strategy_obstacle(f, s, rows == PASS_ONE);
}

/* Of each machine what the strategy takes for so many rows. */
static void sum_machines(struct pass_costs *costs, enum pass_rows rows,
                         enum ir_strategy s, bool had)
{
    for (int m = 0; m < PASS_N_MACHINES; m++)
        costs->ns[m][rows][s] =
            had ? sum_costs(costs->term[s], (enum pass_machine)m, rows, s)
                : INFINITY;
}

void pass_estimate(const struct ir_forest *f, struct pass_costs *costs)
{
    memset(costs, 0, sizeof(*costs));
    double common[PASS_N_TERMS] = {0};
    count_forest(f, common);
    for (int k = 0; k < IR_N_STRATEGIES; k++) {
        const enum ir_strategy s = (enum ir_strategy)k;
        double *term = costs->term[s];
        const bool any = !ir_strategy_obstacle(f, s, false);
        memcpy(term, common, sizeof(common));
        if (any && s == IR_OBLIVIOUS)
            count_tests(f, term);
        if (any && s == IR_SLICE)
            count_blends(f, term);
        if (any && (s == IR_MATCH16 || s == IR_MATCH32))
            count_steps(f, s == IR_MATCH16 ? 16 : 32, false, term);
        if (any && (s == IR_RAW8 || s == IR_RAW16))
            count_steps(f, s == IR_RAW8 ? 8 : 16, true, term);
        for (int rows = 0; rows < PASS_N_ROWS; rows++)
            sum_machines(costs, (enum pass_rows)rows, s,
                         any && has_rows(f, s, (enum pass_rows)rows));
    }
}
