/* set_words.c: the answers of set tests to one row, as words by category.
 *
 * Sets are many and hardly two are the same, so that their code columns, with
 * 8 or 16 sets each, seldom fit in registers (emit_tests.c). But what a
 * category answers to the set tests of a cluster of nodes is known: it is
 * stored as a word with a bit a test, for each category and cluster. A row has
 * a category of each categorical feature, and or-s a word of each into the
 * answers of a cluster; the words of a category lie in the order in which
 * clusters are asked.
 *
 * This is for few features, and as long as the words are not too many bytes. */
#include "backend/llvm.h"

#include <string.h>

enum { most_words = 16 << 20 }; /* bytes of them, in a library */

static int trailing_zeros(uint32_t v)
{
    int n = 0;
    while (n < 31 && !(v >> n & 1))
        n++;
    return n;
}

/* All clusters of a number of lanes. */
static int64_t count_clusters(const struct ir_forest *f, int lanes)
{
    struct ir_cut cut = {0};
    int64_t n = 0;
    for (int t = 0; t < f->n_trees; t++) {
        ir_cut_tree(&cut, f, t, lanes);
        n += cut.n;
    }
    ir_cut_release(&cut);
    return n;
}

int64_t be_set_words_bytes(const struct be_forest *forest,
                           const struct be_set_words *w, int run)
{
    const int64_t rows = forest->set_run[run].limit + 2;
    return rows * w->n_clusters * w->word_bytes;
}

/* Whether the words of all clusters of so many lanes are not too many. */
static bool fits(const struct be_forest *forest, int lanes)
{
    const struct be_set_words w = {
        .n_clusters = count_clusters(&forest->f, lanes),
        .word_bytes = lanes / 8};
    int64_t sum = 0;
    for (int r = 0; r < forest->n_set_runs; r++)
        sum += be_set_words_bytes(forest, &w, r);
    return sum <= most_words;
}

/* The first category above all that the sets of the columns hold. */
static int32_t past_categories(const struct ir_forest *f, int first, int end)
{
    int32_t past = 0;
    for (int i = f->column_set_start[first]; i < f->column_set_start[end];
         i++) {
        const int set = f->column_set[i];
        const int32_t start = f->set_start[set];
        const int32_t n = (f->set_start[set + 1] - start) * 32;
        for (int32_t code = past; code < n; code++)
            if (f->set_words[start + code / 32] >> code % 32 & 1)
                past = code + 1;
    }
    return past;
}

/* Fills set_run and place_in_row; -> how many columns are numeric, or -1 when
 * there are too many runs. */
static int find_runs(struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    int n = 0;
    for (int c = 0, end; c < f->n_code_columns; c = end) {
        end = be_category_run_end(f, c);
        if (end == c) {
            forest->place_in_row[c] = n++;
            end++;
            continue;
        }
        if (forest->n_set_runs == BE_MOST_SET_RUNS)
            return -1;
        forest->set_run[forest->n_set_runs++] = (struct be_set_run){
            .first = c, .end = end, .limit = past_categories(f, c, end)};
    }
    return n;
}

/* Registers that so many codes fill; or what it is like where they are looked
 * up in memory. */
static int registers(const struct be_forest *forest, int codes)
{
    const int n = (codes * forest->code_bytes + 15) / 16;
    return n > BE_MOST_TABLES ? 100 : n > 0 ? n : 1;
}

/* Whether a word a run costs less than to look all sets' codes up and to mask
 * them: two instructions against three a register, and two. */
static bool is_cheaper(const struct be_forest *forest, int numeric)
{
    const int without = registers(forest, numeric);
    return without <= BE_MOST_TABLES && forest->n_set_runs > 0 &&
           2 * forest->n_set_runs + 3 * without <
               2 + 3 * registers(forest, forest->f.n_code_columns);
}

static bool is_by(const struct be_forest *forest, enum ir_strategy s)
{
    return forest->by[0] == s || forest->by[1] == s;
}

void be_set_words_plan(struct be_emitter *e, struct be_forest *forest)
{
    const struct ir_forest *f = &forest->f;
    const bool by16 = is_by(forest, IR_MATCH16);
    const bool by32 = is_by(forest, IR_MATCH32);
    if (e->target->lookup == BE_LOADS || !(by16 || by32) ||
        forest->by[1] == IR_OBLIVIOUS)
        return;
    forest->set_run = ir_alloc_array(&e->arena, BE_MOST_SET_RUNS,
                                     sizeof(*forest->set_run));
    forest->place_in_row = ir_alloc_array(
        &e->arena, (size_t)f->n_code_columns + 1, sizeof(int));
    const int numeric = find_runs(forest);
    if (numeric < 0 || !is_cheaper(forest, numeric) ||
        (by16 && !fits(forest, 16)) || (by32 && !fits(forest, 32))) {
        forest->n_set_runs = 0;
        forest->place_in_row = NULL;
    }
}

int be_place_in_row(const struct be_forest *forest, int column)
{
    return forest->n_set_runs > 0 ? forest->place_in_row[column] : column;
}

int64_t be_set_rows_at(const struct be_forest *forest)
{
    int64_t n = forest->n_set_runs > 0 ? 0 : be_code_columns(forest);
    for (int c = 0; c < forest->f.n_code_columns && forest->n_set_runs > 0; c++)
        n += be_category_reading(&forest->f, c) == 0;
    /* In registers of 16 bytes, or of 64, if codes are words (emit_tests.c). */
    const int64_t unit = forest->code_bytes == 1 ? 16 : 64;
    const int64_t bytes = (n * forest->code_bytes + unit - 1) / unit * unit;
    return bytes > 0 ? bytes : unit;
}

int64_t be_row_code_bytes(const struct be_forest *forest)
{
    return (be_set_rows_at(forest) + 4 * forest->n_set_runs + 15) / 16 * 16;
}

bool be_in_words(const struct be_forest *forest, int64_t node)
{
    const struct ir_forest *f = &forest->f;
    return forest->n_set_runs > 0 &&
           be_category_reading(f, f->node_column[node]) != 0;
}

/* Sets the bit of one row. */
static void set_bit(struct be_set_words *w, uint8_t *rows, int64_t row,
                    int64_t cluster, int lane)
{
    const int64_t word = row * w->n_clusters + cluster;
    rows[word * w->word_bytes + lane / 8] |= (uint8_t)(1u << lane % 8);
}

void be_set_words_add(const struct be_forest *forest, struct be_set_words *w,
                      int64_t cluster, int lane, int64_t node)
{
    const struct ir_forest *f = &forest->f;
    const int column = f->node_column[node];
    uint8_t *rows = w->words;
    int r = 0;
    while (column >= forest->set_run[r].end)
        rows += be_set_words_bytes(forest, w, r++);
    const int set = f->column_set[f->column_set_start[column] +
                                  trailing_zeros(f->node_code[node])];
    const int32_t start = f->set_start[set];
    const int32_t n = (f->set_start[set + 1] - start) * 32;
    for (int32_t code = 0; code < n; code++)
        if (f->set_words[start + code / 32] >> code % 32 & 1)
            set_bit(w, rows, code, cluster, lane);
    if (f->column_flags[column] & IR_NODE_MISSING_LEFT)
        set_bit(w, rows, forest->set_run[r].limit + 1, cluster, lane);
}
