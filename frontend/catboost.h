/* catboost.h: what the files of the CatBoost importer share. Private.
 *
 * The file is read into struct fe_catboost: first what there is to test, so
 * that trees can go straight into the forest builder. Sections below are headed
 * by the file that implements them; catboost.c is where to start.
 */
#ifndef TREENAIL_FRONTEND_CATBOOST_H
#define TREENAIL_FRONTEND_CATBOOST_H

#include "frontend/internal.h"

/* What a feature has whatever its kind. */
struct fe_catboost_feature {
    struct fe_value at; /* in the file, for messages */
    const char *name;
    int64_t index; /* among those of its kind, as the file counts */
    int64_t flat;  /* among all */
    int column;    /* of the module */
};

/* A numeric feature: bit k of it is value > border[k], in f32. */
struct fe_catboost_float {
    struct fe_catboost_feature feature;
    bool nan_above; /* a NaN is above every border, else above none */
    int64_t n_borders;
    const float *border; /* ascending */
};

/* A categorical feature. CatBoost knows a category by the hash of its text
 * alone; our code of one is its place in `hash` and `text`. */
struct fe_catboost_category {
    struct fe_catboost_feature feature;
    int64_t n_values; /* that splits ask for; they are the first codes */
    const int32_t *value;
    int n_codes;
    const int32_t *hash;
    const char **text;
    const struct fe_catboost_code *codes; /* ascending by hash */
};

struct fe_catboost_code {
    int32_t hash; /* first: codes are found by it */
    int32_t code;
};

enum fe_catboost_element_kind {
    FE_CATBOOST_CATEGORY, /* the hash of a category */
    FE_CATBOOST_ABOVE,    /* whether a number is above `border` */
    FE_CATBOOST_IS        /* whether a category's hash is `value` */
};

/* One of what a CTR combines. */
struct fe_catboost_element {
    enum fe_catboost_element_kind kind;
    int feature; /* a place in `floats` or in `categories` */
    float border;
    int32_t value;
};
#define FE_CATBOOST_MAX_ELEMENTS 64 /* of one CTR; CatBoost makes fewer */

enum fe_catboost_ctr_type {
    FE_CATBOOST_BORDERS,
    FE_CATBOOST_BUCKETS,
    FE_CATBOOST_MEAN,   /* BinarizedTargetMeanValue, FloatTargetMeanValue */
    FE_CATBOOST_COUNTER /* Counter, FeatureFreq */
};

/* What training counted for each value of what CTRs combine, by its hash. */
struct fe_catboost_table {
    struct fe_value at;
    const char *key;
    int64_t n;
    int n_counts;
    const int64_t *hash;  /* [n], ascending as signed numbers */
    const double *counts; /* [n][n_counts]; i32, or the f32 sum of a mean */
    int64_t denominator;
    struct fe_catboost_ctr *first, *last; /* the CTRs that are made of it */
};

/* A number made of a table; bit k of it is value > border[k], in f32. */
struct fe_catboost_ctr {
    struct fe_value at;
    enum fe_catboost_ctr_type type;
    const char *type_name; /* as the file has it */
    int n_elements;
    const struct fe_catboost_element *element; /* categories, then others */
    const char *key; /* of the table */
    const struct fe_catboost_table *table;
    struct fe_catboost_ctr *next; /* of the same table */
    int64_t target;               /* target_border_idx */
    float prior, denominator, shift, scale;
    int64_t n_borders;
    const float *border;
    int feature; /* of the forest; -1 when splits are set tests instead */
};

enum fe_catboost_split_kind {
    FE_CATBOOST_BY_FLOAT,
    FE_CATBOOST_BY_VALUE,
    FE_CATBOOST_BY_CTR
};

/* Which split a number is: border or value `place` of the feature or CTR
 * `owner` of its kind. */
struct fe_catboost_split {
    enum fe_catboost_split_kind kind;
    int owner;
    int64_t place;
};

/* How a split is tested. Bit 1 is value > threshold or, for a set test, being a
 * member (`members_high`) or being none. */
struct fe_catboost_test {
    bool known; /* the rest is filled in */
    bool is_set, members_high;
    uint8_t flags; /* enum ir_node_flag */
    int feature;   /* of the forest */
    int n_words;
    float threshold;
    const uint32_t *words;
};

/* A text of cat_features_hash. */
struct fe_catboost_text {
    int32_t hash; /* first: texts are found by it */
    const char *text;
};

/* How raw values become what predict() gives. */
enum fe_catboost_link {
    FE_CATBOOST_IDENTITY,
    FE_CATBOOST_BINARY,
    FE_CATBOOST_EXP,
    FE_CATBOOST_SOFTMAX,
    FE_CATBOOST_ONE_VS_ALL,
    FE_CATBOOST_MULTI_LABEL, /* a class each */
    FE_CATBOOST_UNCERTAINTY  /* a mean, and the log of a deviation */
};

struct fe_catboost {
    struct fe_json json;
    struct ir_diag *diag;
    struct ir_arena scratch; /* of the importer, freed at its end */

    int n_floats, n_categories, n_ctrs, n_tables, n_texts;
    struct fe_catboost_float *floats;        /* ascending by index */
    struct fe_catboost_category *categories; /* the same */
    struct fe_catboost_ctr *ctrs;            /* as the file has them */
    struct fe_catboost_table *tables;        /* ascending by key */
    struct fe_catboost_text *texts;          /* ascending by hash */
    int n_columns;  /* features, in flat order */
    int n_features; /* of the forest: columns, then CTRs */

    /* A split is a number: borders of floats in order, then the values of
     * categories, then borders of CTRs. */
    int64_t n_splits, first_value, first_ctr;
    int64_t *float_start, *value_start, *ctr_start; /* [n + 1] each */
    struct fe_catboost_test *test;                  /* [n_splits] */

    enum fe_catboost_link link;
    const char *objective, *version; /* NULL when the file does not say */
    double class_bound; /* the raw value above which a binary class is 1 */
    int n_labels;
    const char **labels;
    int n_places; /* the class of each raw value; 0 when they are in order */
    int32_t *places;

    int width; /* raw values; 0 while not known */
    double scale;
    struct fe_numbers bias;
    struct ir_forest_builder *forest;
};

/* ----------------------------------------------------------- catboost.c -- */

/* False with a message when the object `name` has a key that is not among the
 * n `keys`. */
bool fe_catboost_check_keys(struct fe_catboost *m,
                            const struct fe_value *object, const char *name,
                            int n, const char *const *keys);
/* The length of an array that may be absent or null, at most INT32_MAX / 2. */
bool fe_catboost_length(struct fe_catboost *m, const struct fe_value *array,
                        const char *name, int *n);
/* Whether a value is absent or null. */
bool fe_catboost_is_null(const struct fe_catboost *m,
                         const struct fe_value *value);

/* The end of messages about categories that have no text. */
#define FE_CATBOOST_NEED_POOL                                                 \
    "save the model with save_model(path, format=\"json\", pool=pool), where " \
    "pool is the data that it was trained on"

/* -------------------------------------------------- catboost_features.c -- */

/* Reads features_info and ctr_data, gives categories their codes and numbers
 * the splits. */
bool fe_catboost_features(struct fe_catboost *m, const struct fe_value *info,
                          const struct fe_value *ctr_data);

/* ----------------------------------------------------- catboost_table.c -- */

/* Reads of ctr_data the tables that CTRs are made of. */
bool fe_catboost_tables(struct fe_catboost *m,
                        const struct fe_value *ctr_data);

/* ------------------------------------------------------ catboost_info.c -- */

/* Reads model_info: the objective, classes and the version. */
bool fe_catboost_info(struct fe_catboost *m, const struct fe_value *info);

/* ------------------------------------------------------- catboost_ctr.c -- */

/* h = m * (h + m * x): how CatBoost takes x into a hash. */
#define FE_CATBOOST_MULTIPLIER ((uint64_t)0x4906ba494954cb65)

/* Finds each feature's categories and gives them codes. */
bool fe_catboost_find_codes(struct fe_catboost *m);
/* Decides which CTRs are features of the forest. */
void fe_catboost_place_ctrs(struct fe_catboost *m);
struct fe_catboost_split fe_catboost_locate(const struct fe_catboost *m,
                                            int64_t split);
const struct fe_catboost_test *fe_catboost_get_test(struct fe_catboost *m,
                                                    int64_t split);
/* The code of a category that has one. */
int fe_catboost_find_code(const struct fe_catboost_category *category,
                          int32_t hash);
/* The counts of a category alone; NULL when training has not seen it. */
const double *fe_catboost_counts(const struct fe_catboost_table *table,
                                 int32_t category);
float fe_catboost_ctr_value(const struct fe_catboost_ctr *ctr,
                            const double *counts);

/* ------------------------------------------------------ catboost_tree.c -- */

/* Puts all trees into the forest; `oblivious` and `trees` are the values of
 * "oblivious_trees" and "trees". */
bool fe_catboost_trees(struct fe_catboost *m, const struct fe_value *oblivious,
                       const struct fe_value *trees);

/* ----------------------------------------------------- catboost_build.c -- */

/* Fills `module` with what was read and verifies it. */
bool fe_catboost_build(struct fe_catboost *m, struct ir_module *module);

#endif
