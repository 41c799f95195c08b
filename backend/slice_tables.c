/* slice_tables.c: the tables of the strategy `slice` (emit_slice.c): which
 * tests are answered, what is made of the answers, and where leaf values lie.
 *
 * A slot is a bit for each row of a tile. Slot 0 is all zeros, slot 1 all ones;
 * then come the temporaries of the trees that take turns, then the answers to
 * the tests of a group of trees. */
#include "backend/slice_tables.h"

#include <stdlib.h>
#include <string.h>

enum {
    turns = 4,          /* trees whose records take turns, since a result is
                           read some ten cycles after it was stored at best */
    batch_trees = BE_SLICE_TREES,
    group_tests = 6144, /* whose answers stay in an L2 cache */
    /* Tests of a column, from which on rows are counted into buckets. */
    bucket_tests_8 = 48, bucket_tests_16 = 24,
    /* Codes of a column that are told buckets, a test at most: there is such a
       table a group and column, and tables must grow as the model does. */
    codes_a_test = 32,
    few_bits_64 = 6, /* of codes that are looked up in one pair of registers */
};

struct plan {
    const struct be_forest *forest;
    const struct ir_forest *f;
    struct be_slice_tables *t;
    int few_bits; /* of leaves' codes */
    struct ir_text test[BE_SLICE_KINDS], bucket, group, batch, turn, record,
        tree, run, add, value, number, planes;
    int32_t *slot_of;  /* of a test of the current group, by its key, or -1 */
    int32_t *first_key; /* by column: key = first_key + what is tested */
    int32_t *column_of; /* by key */
    int32_t *key;      /* of the current group's tests */
    int n_keys;
    int32_t *first_leaf; /* by tree: of the tables of leaves */
    int first_test; /* slot */
};

#define APPEND(text, ...)                                                     \
    ir_text_append((text), &(__VA_ARGS__), sizeof(__VA_ARGS__))

/* Numbers all tests: those of a column side by side, in ascending order. */
static void number_tests(struct plan *p)
{
    const struct ir_forest *f = p->f;
    const size_t n = (size_t)f->n_code_columns;
    int32_t keys = 0;
    p->first_key = ir_realloc_array(NULL, n + 1, sizeof(*p->first_key));
    for (size_t c = 0; c < n; c++) {
        p->first_key[c] = keys;
        keys += f->column_flags[c] & IR_NODE_CATEGORICAL
                    ? f->column_set_start[c + 1] - f->column_set_start[c]
                    : f->cut_start[c + 1] - f->cut_start[c];
    }
    p->first_key[n] = keys;
    p->slot_of = ir_realloc_array(NULL, (size_t)keys + 1, sizeof(*p->slot_of));
    p->column_of =
        ir_realloc_array(NULL, (size_t)keys + 1, sizeof(*p->column_of));
    p->key = ir_realloc_array(NULL, (size_t)keys + 1, sizeof(*p->key));
    for (size_t c = 0; c < n; c++)
        for (int32_t k = p->first_key[c]; k < p->first_key[c + 1]; k++) {
            p->slot_of[k] = -1;
            p->column_of[k] = (int32_t)c;
        }
}

static int32_t key_of(const struct plan *p, int64_t node)
{
    const struct ir_forest *f = p->f;
    const int c = f->node_column[node];
    int what = f->node_code[node];
    if (f->column_flags[c] & IR_NODE_CATEGORICAL)
        for (what = 0; !(f->node_code[node] >> what & 1); what++)
            ;
    return p->first_key[c] + what;
}

static int compare_keys(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Takes trees from `first` on into a group, as long as there is room for their
 * tests; returns the end of it. */
static int take_group(struct plan *p, int first)
{
    const struct ir_forest *f = p->f;
    int end = first;
    for (int i = 0; i < p->n_keys; i++)
        p->slot_of[p->key[i]] = -1;
    p->n_keys = 0;
    while (end < f->n_trees) {
        int n = p->n_keys;
        for (int64_t i = f->tree_start[end]; i < f->tree_start[end + 1]; i++) {
            const int32_t key = key_of(p, i);
            if (p->slot_of[key] < 0) {
                p->slot_of[key] = 0;
                p->key[n++] = key;
            }
        }
        if (n > group_tests && end > first) {
            while (n > p->n_keys)
                p->slot_of[p->key[--n]] = -1;
            break;
        }
        p->n_keys = n;
        end++;
    }
    qsort(p->key, (size_t)p->n_keys, sizeof(*p->key), compare_keys);
    return end;
}

/* ---------------------------------------------------------------- tests -- */

/* Buckets of a column: bucket i is of the codes that i of the tests are
 * below. */
static void append_buckets(struct plan *p, int from, int end,
                           struct be_slice_test test)
{
    const int c = p->column_of[p->key[from]];
    const int32_t n_codes = p->first_key[c + 1] - p->first_key[c];
    test.what = (uint32_t)n_codes;
    test.n = (uint32_t)(end - from);
    test.buckets = (uint32_t)(p->bucket.length / sizeof(uint16_t));
    APPEND(&p->test[BE_SLICE_BUCKETS], test);
    for (int32_t code = 0, i = from; code <= n_codes; code++) {
        while (i < end && p->key[i] - p->first_key[c] < code)
            i++;
        const uint16_t bucket = (uint16_t)(i - from);
        APPEND(&p->bucket, bucket);
    }
    p->t->maps_codes |= end - from < n_codes;
}

/* The tests key[from..end-1], of one column, whose answers are in slots from
 * `slot` on; how many slots they take. */
static int append_tests(struct plan *p, int from, int end, int slot)
{
    const struct ir_forest *f = p->f;
    const int c = p->column_of[p->key[from]];
    const int code_bytes = p->forest->code_bytes;
    const uint32_t half = code_bytes == 1 ? 0x80 : 0x8000;
    const bool is_set = f->column_flags[c] & IR_NODE_CATEGORICAL;
    const int fewest = code_bytes == 1 ? bucket_tests_8 : bucket_tests_16;
    struct be_slice_test test = {
        .codes = (uint32_t)(c * p->forest->tile_rows * code_bytes),
        .slot = (uint32_t)(slot * p->t->slot_bytes)};
    for (int i = from; i < end; i++)
        p->slot_of[p->key[i]] = slot + i - from;
    const int64_t n_codes = p->first_key[c + 1] - p->first_key[c];
    if (!is_set && end - from >= fewest &&
        n_codes <= (int64_t)codes_a_test * (end - from)) {
        append_buckets(p, from, end, test);
        return end - from + 1;
    }
    for (int i = from; i < end; i++) {
        const int32_t what = p->key[i] - p->first_key[c];
        test.what = is_set ? (uint32_t)(code_bytes * 8 - 1 - what)
                           : ((uint32_t)what + 1) ^ half;
        APPEND(&p->test[is_set ? BE_SLICE_SETS : BE_SLICE_CUTS], test);
        test.slot += (uint32_t)p->t->slot_bytes;
    }
    return end - from;
}

static void append_group_tests(struct plan *p)
{
    int slot = p->first_test;
    for (int i = 0, end; i < p->n_keys; i = end) {
        for (end = i + 1; end < p->n_keys && p->column_of[p->key[end]] ==
                                                 p->column_of[p->key[i]];)
            end++;
        slot += append_tests(p, i, end, slot);
    }
    p->t->n_slots = slot > p->t->n_slots ? slot : p->t->n_slots;
}

/* ---------------------------------------------------------------- trees -- */

/* Where an operand of the tree that is number `turn` of those that take turns
 * is, in units. */
static uint16_t place_of(const struct plan *p, int tree, int turn,
                         int32_t operand)
{
    int slot = operand == IR_ONES ? 1 : 0;
    if (operand >= 0)
        slot = BE_SLICE_CONSTANTS + turn * p->t->n_temporaries + operand;
    else if (operand < IR_ANY)
        slot = p->slot_of[key_of(p, p->f->tree_start[tree] +
                                        IR_TEST(operand))];
    return (uint16_t)(slot * (p->t->slot_bytes / BE_SLICE_UNIT));
}

static struct be_slice_record record_of(const struct plan *p, int tree,
                                        int turn, const struct ir_blend *b)
{
    return (struct be_slice_record){
        .test = place_of(p, tree, turn, IR_TEST(b->node)),
        .left = place_of(p, tree, turn, b->left),
        .right = place_of(p, tree, turn, b->right),
        .to = place_of(p, tree, turn, b->to)};
}

/* Leaf values and numbers by code; how many codes there are. */
static int32_t append_leaves(struct plan *p, int tree,
                             const struct ir_circuit *c)
{
    const struct ir_forest *f = p->f;
    const size_t bytes =
        (size_t)f->leaf_width * ir_dtype_bytes(f->sum_dtype);
    int32_t n = 1;
    int32_t *leaf = ir_realloc_array(NULL, 1u << c->n_bits, sizeof(*leaf));
    memset(leaf, 0, sizeof(*leaf) << c->n_bits);
    for (int i = 0; i < c->n_leaves; i++) {
        const int32_t any = c->leaf[i].any, code = c->leaf[i].code;
        n = (code | any) >= n ? (code | any) + 1 : n;
        for (int32_t more = any; c->leaf[i].reached; more = (more - 1) & any) {
            leaf[code | more] = i;
            if (!more)
                break;
        }
    }
    struct ir_text sums; /* as planes have them */
    ir_text_init(&sums);
    for (int32_t i = 0; i < n; i++) {
        const size_t at = (size_t)(f->leaf_start[tree] + leaf[i]);
        const int32_t number = f->leaf_id ? f->leaf_id[at] : leaf[i];
        be_leaf_append(p->forest, (int64_t)at, &p->value);
        ir_text_append(&sums, (const uint8_t *)f->leaf_value + at * bytes,
                       bytes);
        APPEND(&p->number, number);
    }
    if (p->t->planes)
        be_planes_append(p->t->planes, p->t->plane_entries, sums.data, n,
                         &p->planes);
    ir_text_release(&sums);
    free(leaf);
    return n;
}

/* The trees [first, end), which take turns. */
static void append_turn(struct plan *p, int first, int end)
{
    const struct ir_forest *f = p->f;
    struct ir_circuit c[turns] = {{0}};
    struct be_slice_turn turn = {
        .first_record = (int32_t)(p->record.length /
                                  sizeof(struct be_slice_record)),
        .first_tree = first, .end_tree = end};
    int most = 0;
    for (int tree = first; tree < end; tree++) {
        struct ir_circuit *at = &c[tree - first];
        struct be_slice_tree entry = {{0}};
        ir_make_circuit(at, f, tree, p->few_bits);
        most = at->n_blends > most ? at->n_blends : most;
        for (int k = 0; k < at->n_bits; k++)
            entry.bit[k] = place_of(p, tree, tree - first, at->bit[k]);
        APPEND(&p->tree, entry);
        p->first_leaf[tree + 1] =
            p->first_leaf[tree] + append_leaves(p, tree, at);
    }
    for (int i = 0; i < most; i++)
        for (int tree = first; tree < end; tree++)
            if (i < c[tree - first].n_blends) {
                const struct be_slice_record record = record_of(
                    p, tree, tree - first, &c[tree - first].blend[i]);
                APPEND(&p->record, record);
            }
    turn.end_record =
        (int32_t)(p->record.length / sizeof(struct be_slice_record));
    APPEND(&p->turn, turn);
    for (int k = 0; k < turns; k++)
        ir_circuit_release(&c[k]);
}

/* What is added for the trees [first, end): target by target, in order. */
static void append_adds(struct plan *p, int first, int end)
{
    const struct ir_forest *f = p->f;
    bool done[batch_trees] = {false};
    for (int i = first; i < end; i++) {
        if (done[i - first])
            continue;
        struct be_slice_run run = {
            .first = (int32_t)(p->add.length / sizeof(struct be_slice_add)),
            .target = f->target[i]};
        for (int tree = i; tree < end; tree++) {
            if (f->target[tree] != f->target[i])
                continue;
            const struct be_slice_add add = {
                .codes = (uint32_t)((tree - first) * p->t->code_bytes *
                                    8 * p->t->slot_bytes),
                .first_leaf = p->first_leaf[tree], .tree = tree};
            done[tree - first] = true;
            APPEND(&p->add, add);
        }
        run.end = (int32_t)(p->add.length / sizeof(struct be_slice_add));
        APPEND(&p->run, run);
    }
}

/* Trees from `first` on whose leaves are found, then added: not past one after
 * which rows may stop. */
static int batch_end(const struct ir_forest *f, int first, int end)
{
    const int64_t stop = f->stop_every * f->n_targets;
    int t = first + 1;
    while (t < end && t - first < batch_trees && (stop == 0 || t % stop != 0))
        t++;
    return t;
}

static int32_t count(const struct ir_text *text, size_t bytes)
{
    return (int32_t)(text->length / bytes);
}

static void append_batch(struct plan *p, int first, int end)
{
    struct be_slice_batch batch = {
        .first_turn = count(&p->turn, sizeof(struct be_slice_turn)),
        .first_run = count(&p->run, sizeof(struct be_slice_run)),
        .first_tree = first, .end_tree = end};
    for (int t = first; t < end; t += turns)
        append_turn(p, t, t + turns < end ? t + turns : end);
    append_adds(p, first, end);
    batch.end_turn = count(&p->turn, sizeof(struct be_slice_turn));
    batch.end_run = count(&p->run, sizeof(struct be_slice_run));
    APPEND(&p->batch, batch);
}

/* The trees [first, end), whose tests are the current group's. */
static void append_group(struct plan *p, int first, int end)
{
    struct be_slice_group group;
    for (int kind = 0; kind < BE_SLICE_KINDS; kind++)
        group.first[kind] =
            count(&p->test[kind], sizeof(struct be_slice_test));
    append_group_tests(p);
    for (int kind = 0; kind < BE_SLICE_KINDS; kind++)
        group.end[kind] = count(&p->test[kind], sizeof(struct be_slice_test));
    group.first_batch = count(&p->batch, sizeof(struct be_slice_batch));
    for (int t = first, next; t < end; t = next) {
        next = batch_end(p->f, t, end);
        append_batch(p, t, next);
    }
    group.end_batch = count(&p->batch, sizeof(struct be_slice_batch));
    APPEND(&p->group, group);
}

/* What all trees need: the most temporaries, the most bits. */
static void measure_trees(struct plan *p)
{
    struct ir_circuit c = {0};
    int bits = 0;
    for (int t = 0; t < p->f->n_trees; t++) {
        ir_make_circuit(&c, p->f, t, p->few_bits);
        bits = c.n_bits > bits ? c.n_bits : bits;
        if (c.n_temporaries > p->t->n_temporaries)
            p->t->n_temporaries = c.n_temporaries;
    }
    p->t->code_bytes = bits > IR_BYTE_BITS ? 2 : 1;
    if (p->t->planes)
        p->t->plane_entries = be_planes_entries(p->t->planes, 1 << bits);
    ir_circuit_release(&c);
}

/* What blends and lookups take for 64 rows, in eighths of a cycle of Zen 4, if
 * codes are of few_bits where they can be; and how many bits they come to. */
static int64_t lookup_cost(const struct ir_forest *f, int few_bits, int *bits)
{
    struct ir_circuit c = {0};
    int64_t blends = 0;
    *bits = 0;
    for (int t = 0; t < f->n_trees; t++) {
        ir_make_circuit(&c, f, t, few_bits);
        blends += c.n_blends;
        *bits = c.n_bits > *bits ? c.n_bits : *bits;
    }
    ir_circuit_release(&c);
    const int tables = *bits <= few_bits_64 ? 1 : 1 << (*bits - few_bits_64);
    const int64_t lookup =
        ir_dtype_bytes(f->sum_dtype) == 8 ? 12 + 12 * tables : 2 + 6 * tables;
    return 5 * blends + 8 * lookup * f->n_trees;
}

const struct be_planes *be_slice_planes(struct be_emitter *e,
                                        const struct be_forest *forest,
                                        int *few_bits)
{
    const struct ir_forest *f = &forest->f;
    struct be_planes *planes = ir_alloc(&e->arena, sizeof(*planes));
    int most = 0, bits, fewer;
    for (int t = 0; t < f->n_trees; t++) {
        const int n = f->leaf_start[t + 1] - f->leaf_start[t];
        most = n > most ? n : most;
    }
    if (!be_planes_init(planes, e, forest, most, BE_PLANES_MOST_BLOCK))
        return NULL;
    *few_bits = IR_BYTE_BITS;
    const int64_t cost = lookup_cost(f, IR_BYTE_BITS, &bits);
    if (most <= 1 << few_bits_64 &&
        lookup_cost(f, few_bits_64, &fewer) < cost) {
        *few_bits = few_bits_64;
        bits = fewer;
    }
    return be_planes_init(planes, e, forest, 1 << bits, BE_PLANES_MOST_BLOCK)
               ? planes : NULL;
}

static LLVMValueRef table(struct be_emitter *e, const char *name,
                          struct ir_text *text)
{
    LLVMValueRef v = be_bytes(e, name, text->data, text->length, 64);
    ir_text_release(text);
    return v;
}

static void emit_tables(struct be_emitter *e, struct plan *p)
{
    struct be_slice_tables *t = p->t;
    t->n_groups = count(&p->group, sizeof(struct be_slice_group));
    for (int kind = 0; kind < BE_SLICE_KINDS; kind++)
        t->test[kind] = table(e, "slice_test", &p->test[kind]);
    t->bucket = table(e, "slice_bucket", &p->bucket);
    t->group = table(e, "slice_group", &p->group);
    t->batch = table(e, "slice_batch", &p->batch);
    t->turn = table(e, "slice_turn", &p->turn);
    t->record = table(e, "slice_record", &p->record);
    t->tree = table(e, "slice_tree", &p->tree);
    t->run = table(e, "slice_run", &p->run);
    t->add = table(e, "slice_add", &p->add);
    t->value = table(e, "leaf_value", &p->value);
    t->number = table(e, "leaf_number", &p->number);
    t->plane = table(e, "leaf_plane", &p->planes);
}

void be_slice_plan(struct be_emitter *e, const struct be_forest *forest,
                   const struct be_planes *planes, int few_bits,
                   struct be_slice_tables *t)
{
    struct plan p = {.forest = forest, .f = &forest->f, .t = t,
                     .few_bits = few_bits};
    *t = (struct be_slice_tables){.slot_bytes = 8, .planes = planes};
    while (8 * t->slot_bytes < forest->tile_rows)
        t->slot_bytes *= 2;
    for (int kind = 0; kind < BE_SLICE_KINDS; kind++)
        ir_text_init(&p.test[kind]);
    struct ir_text *const texts[] = {&p.bucket, &p.group, &p.batch, &p.turn,
                                     &p.record, &p.tree, &p.run, &p.add,
                                     &p.value, &p.number, &p.planes};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        ir_text_init(texts[i]);
    p.first_leaf = ir_realloc_array(NULL, (size_t)p.f->n_trees + 1,
                                    sizeof(*p.first_leaf));
    p.first_leaf[0] = 0;
    number_tests(&p);
    measure_trees(&p);
    p.first_test = BE_SLICE_CONSTANTS + turns * t->n_temporaries;
    for (int first = 0, end; first < p.f->n_trees; first = end) {
        end = take_group(&p, first);
        append_group(&p, first, end);
    }
    emit_tables(e, &p);
    free(p.first_leaf);
    free(p.first_key);
    free(p.slot_of);
    free(p.column_of);
    free(p.key);
}
