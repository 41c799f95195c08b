/* catboost_table.c: ctr_data: what training counted, by hash.
 *
 * A table is an array of entries of hash_stride items: a hash as a string, then
 * counts. CTRs ask for a table by its key, a JSON text that names the features
 * and the type; two tables that differ in nothing else have one key, and then
 * the file holds only one of them (catboost_info.c refuses what may be such a
 * model).
 */
#include "frontend/catboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------- entries -- */

struct entry {
    int64_t hash;
    int64_t number; /* of its counts, as the file has them */
};

static int by_hash(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

/* A whole number below 2^64 in a string, as a signed one. */
static bool read_hash(struct fe_catboost *m, const struct fe_value *value,
                      int64_t *hash)
{
    char *text;
    uint64_t n = 0;
    if (!fe_json_string(&m->json, value, "a hash of hash_map", &m->scratch,
                        &text))
        return false;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        const uint64_t digit = (uint64_t)(*p - '0');
        if (n > (UINT64_MAX - digit) / 10)
            break;
        n = n * 10 + digit;
    }
    *hash = (int64_t)n;
    return (p > text && !*p) ||
           fe_json_error(&m->json, value, "'%.40s' in hash_map is no hash of "
                         "64 bits", text);
}

/* Counts are whole, but for the sums of means. */
static bool read_count(struct fe_catboost *m, const struct fe_value *value,
                       bool sum, double *count)
{
    int64_t whole;
    float real;
    if (sum) {
        if (!fe_json_float(&m->json, value, "a sum of hash_map", &real))
            return false;
        *count = (double)real;
        return isfinite(real) ||
               fe_json_error(&m->json, value, "a sum of hash_map is %g",
                             (double)real);
    }
    if (!fe_json_int(&m->json, value, "a count of hash_map", 0, INT32_MAX,
                     &whole))
        return false;
    *count = (double)whole;
    return true;
}

/* The hash of an empty slot: CatBoost writes one as if it were an entry. */
#define EMPTY_SLOT (-1)

/* Fills the entries, and `counts` for each item of the file. */
static bool read_entries(struct fe_catboost *m, const struct fe_value *array,
                         struct fe_catboost_table *t, struct entry *entry,
                         double *counts)
{
    int64_t n = 0;
    const bool mean = t->first->type == FE_CATBOOST_MEAN;
    struct fe_walk walk;
    struct fe_value value;
    fe_json_begin(&m->json, array, "hash_map", &walk);
    for (int64_t i = 0; i < t->n; i++) {
        entry[n].number = i;
        if (!fe_json_next(&walk, &value) ||
            !read_hash(m, &value, &entry[n].hash))
            return false;
        n += entry[n].hash != EMPTY_SLOT;
        for (int k = 0; k < t->n_counts; k++)
            if (!fe_json_next(&walk, &value) ||
                !read_count(m, &value, mean && k == 0, counts++))
                return false;
    }
    t->n = n;
    return n > 0 || fe_json_error(&m->json, array, "hash_map has no entries");
}

static bool sort_entries(struct fe_catboost *m, struct fe_catboost_table *t,
                         struct entry *entry, const double *counts)
{
    const size_t n = (size_t)t->n, width = (size_t)t->n_counts;
    int64_t *hash = ir_alloc_array(&m->scratch, n, sizeof *hash);
    double *sorted = ir_alloc_array(&m->scratch, n * width, sizeof *sorted);
    qsort(entry, n, sizeof *entry, by_hash);
    for (size_t i = 0; i < n; i++) {
        hash[i] = entry[i].hash;
        if (i > 0 && hash[i] == hash[i - 1])
            return fe_json_error(&m->json, &t->at,
                                 "hash_map holds the hash %llu twice",
                                 (unsigned long long)hash[i]);
        memcpy(sorted + i * width,
               counts + (size_t)entry[i].number * width,
               width * sizeof *sorted);
    }
    t->hash = hash;
    t->counts = sorted;
    return true;
}

/* ---------------------------------------------------------------- tables -- */

/* The sums over a row's counts are 32-bit integers in CatBoost. */
#define MAX_COUNTS 4096

/* A mean has a sum and a count, a counter a count, others one a class. */
static bool check_stride(struct fe_catboost *m, const struct fe_value *value,
                         const struct fe_catboost_table *t)
{
    const enum fe_catboost_ctr_type type = t->first->type;
    const int n = t->n_counts;
    if (type == FE_CATBOOST_COUNTER ? n == 1
                                    : n == 2 ||
                                          (n > 2 && type != FE_CATBOOST_MEAN))
        return true;
    return fe_json_error(&m->json, value, "hash_stride %d is not that of this "
                         "type of CTR", n + 1);
}

/* The class that a CTR asks for is one of the table's. */
static bool check_targets(struct fe_catboost *m,
                          const struct fe_catboost_table *t)
{
    for (const struct fe_catboost_ctr *c = t->first; c; c = c->next) {
        const int most = c->type == FE_CATBOOST_BUCKETS ? t->n_counts - 1
                                                        : t->n_counts - 2;
        const bool any = c->type == FE_CATBOOST_BORDERS ||
                         c->type == FE_CATBOOST_BUCKETS;
        if (any && c->target > most)
            return fe_json_error(&m->json, &c->at, "target_border_idx %lld is "
                                 "out of range (ctr_data counts %d classes)",
                                 (long long)c->target, t->n_counts);
    }
    return true;
}

static bool read_table(struct fe_catboost *m, const struct fe_value *object,
                       struct fe_catboost_table *t)
{
    static const char *const keys[] = {"hash_map", "hash_stride",
                                       "counter_denominator"};
    struct fe_value field[3];
    int64_t stride, length;
    t->at = *object;
    if (!fe_json_fields(&m->json, object, "a table of ctr_data", 3, keys,
                        field) ||
        !fe_json_int(&m->json, &field[1], "hash_stride", 2, MAX_COUNTS + 1,
                     &stride) ||
        !fe_json_int(&m->json, &field[2], "counter_denominator", 0, INT32_MAX,
                     &t->denominator) ||
        !fe_json_length(&m->json, &field[0], "hash_map", &length))
        return false;
    t->n_counts = (int)stride - 1;
    t->n = length / stride;
    if (length == 0 || length % stride != 0)
        return fe_json_error(&m->json, &field[0], "hash_map has %lld items, "
                             "which is no multiple of hash_stride %lld",
                             (long long)length, (long long)stride);
    if (t->n > IR_MAX_ELEMENTS)
        return fe_json_error(&m->json, &field[0], "hash_map has %lld entries "
                             "(the limit is %d)", (long long)t->n,
                             IR_MAX_ELEMENTS);
    if (!check_stride(m, &field[1], t) || !check_targets(m, t))
        return false;
    struct entry *entry = ir_realloc_array(NULL, (size_t)t->n, sizeof *entry);
    double *counts = ir_realloc_array(
        NULL, (size_t)(t->n * t->n_counts), sizeof *counts);
    const bool good = read_entries(m, &field[0], t, entry, counts) &&
                      sort_entries(m, t, entry, counts);
    free(entry);
    free(counts);
    return good;
}

/* ------------------------------------------------------------------- all -- */

static int by_key(const void *a, const void *b)
{
    const struct fe_catboost_ctr *const *x = a, *const *y = b;
    const int order = strcmp((*x)->key, (*y)->key);
    return order ? order : (*x > *y) - (*x < *y);
}

/* CTRs of one table are of one type and combine the same. */
static bool is_like(const struct fe_catboost_ctr *a,
                    const struct fe_catboost_ctr *b)
{
    if (a->type != b->type || a->n_elements != b->n_elements)
        return false;
    for (int i = 0; i < a->n_elements; i++) {
        const struct fe_catboost_element *x = &a->element[i],
                                         *y = &b->element[i];
        if (x->kind != y->kind || x->feature != y->feature ||
            x->border != y->border || x->value != y->value)
            return false;
    }
    return true;
}

/* A table for each key that CTRs have. */
static bool list_tables(struct fe_catboost *m)
{
    struct fe_catboost_ctr **sorted =
        ir_alloc_array(&m->scratch, (size_t)m->n_ctrs, sizeof *sorted);
    for (int i = 0; i < m->n_ctrs; i++)
        sorted[i] = &m->ctrs[i];
    if (m->n_ctrs > 0)
        qsort(sorted, (size_t)m->n_ctrs, sizeof *sorted, by_key);
    m->tables =
        ir_alloc_array(&m->scratch, (size_t)m->n_ctrs, sizeof *m->tables);
    for (int i = 0; i < m->n_ctrs; i++) {
        struct fe_catboost_ctr *ctr = sorted[i];
        if (i == 0 || strcmp(sorted[i - 1]->key, ctr->key) != 0) {
            m->tables[m->n_tables++] = (struct fe_catboost_table){
                .key = ctr->key, .first = ctr, .last = ctr};
        } else {
            struct fe_catboost_table *t = &m->tables[m->n_tables - 1];
            if (!is_like(t->first, ctr))
                return fe_json_error(&m->json, &ctr->at, "ctrs[%d] has the "
                                     "identifier of ctrs[%d], but another "
                                     "type or other elements",
                                     (int)(ctr - m->ctrs),
                                     (int)(t->first - m->ctrs));
            t->last->next = ctr;
            t->last = ctr;
        }
        ctr->table = &m->tables[m->n_tables - 1];
    }
    return true;
}

static int find_key(const void *key, const void *table)
{
    return strcmp(key, ((const struct fe_catboost_table *)table)->key);
}

bool fe_catboost_tables(struct fe_catboost *m, const struct fe_value *ctr_data)
{
    struct fe_walk walk;
    struct fe_value value;
    if (!list_tables(m))
        return false;
    if (m->n_tables > 0 && !fe_catboost_is_null(m, ctr_data)) {
        if (!fe_json_begin_object(&m->json, ctr_data, "ctr_data", &walk))
            return false;
        while (fe_json_next(&walk, &value)) {
            char *key;
            if (!fe_json_string(&m->json, &walk.key, "a key of ctr_data",
                                &m->scratch, &key))
                return false;
            struct fe_catboost_table *t =
                bsearch(key, m->tables, (size_t)m->n_tables, sizeof *t,
                        find_key);
            if (t && t->at.at)
                return fe_json_error(&m->json, &walk.key, "ctr_data holds the "
                                     "key '%.200s' twice", key);
            if (t && !read_table(m, &value, t))
                return false;
        }
    }
    for (int i = 0; i < m->n_tables; i++)
        if (!m->tables[i].at.at)
            return fe_json_error(&m->json, &m->tables[i].first->at,
                                 "ctrs[%d]: ctr_data has no table '%.200s'",
                                 (int)(m->tables[i].first - m->ctrs),
                                 m->tables[i].key);
    return true;
}
