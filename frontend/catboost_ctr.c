/* catboost_ctr.c: what CatBoost makes of categories, and how splits are tested.
 *
 * CatBoost hashes a category's text to 32 bits, and the values that a CTR
 * combines to 64; a table says what training counted for each 64-bit hash. The
 * hash is linear, so a table's own keys tell which categories there are, and
 * from the file's list of texts come their names. With these a CTR of one
 * feature is a function of our category codes, and a split on it a set of
 * codes; other CTRs become features that are looked up by their hash in each
 * row (catboost_build.c).
 *
 * A category that no table and no split knows has no code: whatever is no code
 * is treated as CatBoost treats a category that it has not seen.
 */
#include "frontend/catboost.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- hashes -- */

static uint64_t inverse_multiplier(void)
{
    const uint64_t m = FE_CATBOOST_MULTIPLIER;
    uint64_t x = m; /* right in 3 bits, and in twice as many each time */
    for (int i = 0; i < 5; i++)
        x *= 2 - m * x;
    return x;
}

/* What the hash was before `next` was taken into it. */
static uint64_t take_out(uint64_t inverse, uint64_t hash, int64_t next)
{
    return hash * inverse - FE_CATBOOST_MULTIPLIER * (uint64_t)next;
}

/* The category that `hash` was made of alone; false when there is none. */
static bool solve(uint64_t inverse, uint64_t hash, int32_t *category)
{
    const uint64_t value = hash * inverse * inverse;
    *category = (int32_t)(uint32_t)value;
    return (uint64_t)(int64_t)*category == value;
}

static int compare_i64(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int compare_i32(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static const char *text_of(const struct fe_catboost *m, int32_t hash)
{
    const struct fe_catboost_text *at =
        m->n_texts ? bsearch(&hash, m->texts, (size_t)m->n_texts,
                             sizeof *m->texts, compare_i32)
                   : NULL;
    return at ? at->text : NULL;
}

/* -------------------------------------------------------------- values -- */

const double *fe_catboost_counts(const struct fe_catboost_table *t,
                                 int32_t category)
{
    const uint64_t m = FE_CATBOOST_MULTIPLIER;
    const int64_t key = (int64_t)(m * m * (uint64_t)(int64_t)category);
    const int64_t *at =
        t->n ? bsearch(&key, t->hash, (size_t)t->n, sizeof key, compare_i64)
             : NULL;
    return at ? t->counts + (at - t->hash) * t->n_counts : NULL;
}

float fe_catboost_ctr_value(const struct fe_catboost_ctr *ctr,
                            const double *counts)
{
    double good = 0, total = 0; /* exact: sums of 32-bit integers */
    if (ctr->type == FE_CATBOOST_COUNTER) {
        good = counts ? counts[0] : 0;
        total = (double)ctr->table->denominator;
    } else if (ctr->type == FE_CATBOOST_MEAN) {
        good = counts ? counts[0] : 0;
        total = counts ? counts[1] : 0;
    } else {
        for (int i = 0; counts && i < ctr->table->n_counts; i++) {
            const bool hit = ctr->type == FE_CATBOOST_BUCKETS
                                 ? i == ctr->target
                                 : i > ctr->target;
            good += hit ? counts[i] : 0;
            total += counts[i];
        }
    }
    const float ratio =
        ((float)good + ctr->prior) / ((float)total + ctr->denominator);
    return (ratio + ctr->shift) * ctr->scale;
}

/* --------------------------------------------------------------- codes -- */

/* No more categories in all columns, and no more steps to find them. */
#define MAX_CODES (1 << 22)
#define MAX_STEPS ((int64_t)1 << 26)
#define MAX_BITS 8

/* A category of a column: rank orders codes. */
struct item {
    int32_t hash, rank;
    const char *text;
};

/* The categories found of a column so far; all: the file's texts are. */
struct found {
    struct item *item;
    size_t n, capacity;
    bool all;
};

struct search {
    struct fe_catboost *m;
    uint64_t inverse;
    struct found *of; /* [n_categories] */
    int64_t steps, codes;
};

static void add(struct found *found, int32_t hash, int32_t rank)
{
    if (found->n > 0 && found->item[found->n - 1].hash == hash)
        return;
    if (found->n == found->capacity) {
        found->capacity = found->capacity * 2 + 16;
        found->item = ir_realloc_array(found->item, found->capacity,
                                       sizeof *found->item);
    }
    found->item[found->n++] = (struct item){.hash = hash, .rank = rank};
}

static int count_categories(const struct fe_catboost_ctr *ctr)
{
    int n = 0;
    while (n < ctr->n_elements &&
           ctr->element[n].kind == FE_CATBOOST_CATEGORY)
        n++;
    return n;
}

/* Finds the one or two categories that, with the bits taken out, a key was
 * made of. Where bits are guessed a category without a text is no answer. */
static bool search_key(struct search *s, const struct fe_catboost_ctr *ctr,
                       int n, bool guessed, uint64_t hash)
{
    const struct fe_catboost_element *e = ctr->element;
    int32_t first;
    if (n == 1) {
        if (!solve(s->inverse, hash, &first) ||
            (guessed && !text_of(s->m, first)))
            return false;
        add(&s->of[e[0].feature], first, INT32_MAX);
        return true;
    }
    bool any = false;
    for (int i = 0; i < s->m->n_texts; i++) {
        const int32_t second = s->m->texts[i].hash;
        if (!solve(s->inverse, take_out(s->inverse, hash, second), &first) ||
            !text_of(s->m, first))
            continue;
        add(&s->of[e[0].feature], first, INT32_MAX);
        add(&s->of[e[1].feature], second, INT32_MAX);
        any = true;
    }
    return any;
}

/* Undoes a table's keys, with every choice of the elements that are bits. */
static bool search_table(struct search *s, const struct fe_catboost_table *t)
{
    const struct fe_catboost_ctr *ctr = t->first;
    const int n = count_categories(ctr), bits = ctr->n_elements - n;
    for (int64_t i = 0; i < t->n; i++) {
        bool any = false;
        for (int choice = 0; choice < 1 << bits; choice++) {
            uint64_t hash = (uint64_t)t->hash[i];
            for (int b = 0; b < bits; b++)
                hash = take_out(s->inverse, hash, choice >> b & 1);
            any = search_key(s, ctr, n, bits > 0, hash) || any;
        }
        if (!any)
            return fe_json_error(&s->m->json, &t->at,
                                 "the key %llu of '%.200s' is the hash of no "
                                 "categories that the file names: "
                                 FE_CATBOOST_NEED_POOL,
                                 (unsigned long long)t->hash[i], t->key);
    }
    return true;
}

/* Where a search would take too long, any text may be a category. */
static bool is_too_long(struct search *s, const struct fe_catboost_table *t)
{
    const int n = count_categories(t->first);
    const int bits = t->first->n_elements - n;
    if (n > 2 || bits > MAX_BITS)
        return true;
    const int64_t each =
        (n == 2 ? s->m->n_texts + 1 : 1) * (int64_t)(1 << bits);
    if (t->n > (MAX_STEPS - s->steps) / each)
        return true;
    s->steps += t->n * each;
    return false;
}

static int by_hash(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_rank(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return strcmp(x->text, y->text);
}

/* Drops what stands twice; every category has a text. */
static bool name_items(struct fe_catboost *m, struct found *found,
                       const struct fe_catboost_category *category)
{
    size_t n = 0;
    if (found->n > 0)
        qsort(found->item, found->n, sizeof *found->item, by_hash);
    for (size_t i = 0; i < found->n; i++) {
        struct item *item = &found->item[i];
        if (n > 0 && found->item[n - 1].hash == item->hash)
            continue;
        item->text = text_of(m, item->hash);
        if (!item->text)
            return fe_json_error(&m->json, &category->feature.at,
                                 "the file does not say which category has "
                                 "the hash %u: " FE_CATBOOST_NEED_POOL,
                                 (unsigned)item->hash);
        found->item[n++] = *item;
    }
    found->n = n;
    return true;
}

/* The values of splits first, so that their sets are short; then by text. */
static bool give_codes(struct search *s, struct fe_catboost_category *category)
{
    struct fe_catboost *m = s->m;
    struct found *found = &s->of[category - m->categories];
    for (int i = 0; i < (int)category->n_values; i++)
        add(found, category->value[i], i);
    for (int i = 0; found->all && i < m->n_texts; i++)
        add(found, m->texts[i].hash, INT32_MAX);
    if (!name_items(m, found, category))
        return false;
    if (found->n > 0)
        qsort(found->item, found->n, sizeof *found->item, by_rank);
    s->codes += (int64_t)found->n;
    if (s->codes > MAX_CODES)
        return fe_json_error(&m->json, &category->feature.at,
                             "more than %d categories in all features so far",
                             MAX_CODES);
    int32_t *hash = ir_alloc_array(&m->scratch, found->n, sizeof *hash);
    struct fe_catboost_code *codes =
        ir_alloc_array(&m->scratch, found->n, sizeof *codes);
    category->text =
        ir_alloc_array(&m->scratch, found->n, sizeof *category->text);
    for (size_t i = 0; i < found->n; i++) {
        hash[i] = found->item[i].hash;
        category->text[i] = found->item[i].text;
        codes[i] = (struct fe_catboost_code){hash[i], (int32_t)i};
    }
    if (found->n > 0)
        qsort(codes, found->n, sizeof *codes, compare_i32);
    category->n_codes = (int)found->n;
    category->hash = hash;
    category->codes = codes;
    return true;
}

int fe_catboost_find_code(const struct fe_catboost_category *category,
                          int32_t hash)
{
    const struct fe_catboost_code *at =
        bsearch(&hash, category->codes, (size_t)category->n_codes,
                sizeof *category->codes, compare_i32);
    if (!at)
        ir_bug("no code for a category's hash %d", hash);
    return at->code;
}

static bool search_all(struct search *s)
{
    struct fe_catboost *m = s->m;
    for (int i = 0; i < m->n_tables; i++) {
        const struct fe_catboost_ctr *ctr = m->tables[i].first;
        const bool skip = ctr && is_too_long(s, &m->tables[i]);
        if (ctr && !skip && !search_table(s, &m->tables[i]))
            return false;
        for (int k = 0; skip && k < count_categories(ctr); k++)
            s->of[ctr->element[k].feature].all = true;
    }
    for (int i = 0; i < m->n_ctrs; i++)
        for (int k = 0; k < m->ctrs[i].n_elements; k++)
            if (m->ctrs[i].element[k].kind == FE_CATBOOST_IS)
                add(&s->of[m->ctrs[i].element[k].feature],
                    m->ctrs[i].element[k].value, INT32_MAX);
    for (int i = 0; i < m->n_categories; i++)
        if (!give_codes(s, &m->categories[i]))
            return false;
    return true;
}

bool fe_catboost_find_codes(struct fe_catboost *m)
{
    for (int i = 0; i < m->n_categories && m->n_texts == 0; i++)
        if (m->n_ctrs > 0 || m->categories[i].n_values > 0)
            return fe_json_error(&m->json, &m->categories[i].feature.at,
                                 "the model tests categories, but the file "
                                 "has only their hashes: "
                                 FE_CATBOOST_NEED_POOL);
    struct search s = {.m = m, .inverse = inverse_multiplier()};
    s.of = ir_alloc_array(&m->scratch, (size_t)m->n_categories + 1,
                          sizeof *s.of);
    const bool good = search_all(&s);
    for (int i = 0; i < m->n_categories; i++)
        free(s.of[i].item);
    return good;
}

/* --------------------------------------------------------------- tests -- */

/* No larger set is tested; a CTR of more categories is looked up. */
#define MAX_SET 256

void fe_catboost_place_ctrs(struct fe_catboost *m)
{
    m->n_features = m->n_columns;
    for (int i = 0; i < m->n_tables; i++)
        for (struct fe_catboost_ctr *c = m->tables[i].first; c; c = c->next) {
            const int feature = c->element[0].feature;
            const bool small = c->n_elements == 1 &&
                               m->categories[feature].n_codes <= MAX_SET;
            c->feature = small ? -1 : m->n_features++;
        }
}

/* The i with start[i] <= split < start[i + 1]. */
static int find_range(const int64_t *start, int n, int64_t split)
{
    int low = 0, high = n;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (start[middle] <= split)
            low = middle;
        else
            high = middle;
    }
    return low;
}

struct fe_catboost_split fe_catboost_locate(const struct fe_catboost *m,
                                            int64_t split)
{
    struct fe_catboost_split at = {FE_CATBOOST_BY_FLOAT, 0, split};
    const int64_t *start = m->float_start;
    int n = m->n_floats;
    if (split >= m->first_ctr) {
        at.kind = FE_CATBOOST_BY_CTR;
        start = m->ctr_start;
        n = m->n_ctrs;
    } else if (split >= m->first_value) {
        at.kind = FE_CATBOOST_BY_VALUE;
        start = m->value_start;
        n = m->n_categories;
    }
    at.owner = find_range(start, n, split);
    at.place -= start[at.owner];
    return at;
}

/* A set test over `n` codes; those that are no code have the bit `others`. */
static void test_set(struct fe_catboost *m, struct fe_catboost_test *test,
                     int column, int n, const bool *bit, bool others)
{
    const int n_words = n / 32 + 1;
    uint32_t *words = ir_alloc_array(&m->scratch, (size_t)n_words, 4);
    for (int i = 0; i < n; i++)
        if (bit[i] != others)
            words[i / 32] |= (uint32_t)1 << i % 32;
    test->is_set = true;
    test->members_high = !others;
    test->feature = column;
    test->flags = IR_NODE_EXACT;
    test->n_words = n_words;
    test->words = words;
}

static void test_value(struct fe_catboost *m,
                       const struct fe_catboost_category *category,
                       int64_t place, struct fe_catboost_test *test)
{
    bool bit[MAX_SET] = {false};
    bit[place] = true;
    test_set(m, test, category->feature.column, (int)place + 1, bit, false);
}

static void test_ctr(struct fe_catboost *m, const struct fe_catboost_ctr *ctr,
                     float border, struct fe_catboost_test *test)
{
    const struct fe_catboost_category *category =
        &m->categories[ctr->element[0].feature];
    bool bit[MAX_SET] = {false};
    for (int code = 0; code < category->n_codes; code++)
        bit[code] = fe_catboost_ctr_value(
                        ctr, fe_catboost_counts(ctr->table,
                                                category->hash[code])) > border;
    test_set(m, test, category->feature.column, category->n_codes, bit,
             fe_catboost_ctr_value(ctr, NULL) > border);
}

/* A NaN is above no border, unless its feature says so. */
static void test_number(struct fe_catboost_test *test, int feature,
                        float border, bool nan_above)
{
    test->feature = feature;
    test->threshold = border;
    test->flags = nan_above ? 0 : IR_NODE_MISSING_LEFT;
}

const struct fe_catboost_test *fe_catboost_get_test(struct fe_catboost *m,
                                                    int64_t split)
{
    struct fe_catboost_test *test = &m->test[split];
    if (test->known)
        return test;
    test->known = true;
    const struct fe_catboost_split at = fe_catboost_locate(m, split);
    if (at.kind == FE_CATBOOST_BY_FLOAT) {
        const struct fe_catboost_float *f = &m->floats[at.owner];
        test_number(test, f->feature.column, f->border[at.place],
                    f->nan_above);
    } else if (at.kind == FE_CATBOOST_BY_VALUE) {
        test_value(m, &m->categories[at.owner], at.place, test);
    } else {
        const struct fe_catboost_ctr *ctr = &m->ctrs[at.owner];
        if (ctr->feature < 0)
            test_ctr(m, ctr, ctr->border[at.place], test);
        else
            test_number(test, ctr->feature, ctr->border[at.place], false);
    }
    return test;
}
