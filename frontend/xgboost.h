/* xgboost.h: what the files of the XGBoost importer share. Private.
 *
 * The model is found in the document first (fe_json_fields takes its parts in
 * any order); then the parameters are read, then trees one by one into the
 * forest builder. xgboost.c is where to start.
 */
#ifndef TREENAIL_FRONTEND_XGBOOST_H
#define TREENAIL_FRONTEND_XGBOOST_H

#include "frontend/internal.h"

/* How a margin becomes what Booster.predict gives. */
enum fe_xgboost_link {
    FE_XGBOOST_IDENTITY,
    FE_XGBOOST_LOGISTIC, /* sigmoid */
    FE_XGBOOST_BINARY,   /* the same, with classes */
    FE_XGBOOST_HINGE,    /* 1 above 0, else 0 */
    FE_XGBOOST_EXP,
    FE_XGBOOST_SOFTMAX,  /* the class */
    FE_XGBOOST_SOFTPROB, /* the probabilities */
    FE_XGBOOST_EXPECTILE /* each the one before and a softplus */
};

/* What base_score is, which the file has in the space of values. */
enum fe_xgboost_base {
    FE_XGBOOST_MARGIN, /* the margin itself */
    FE_XGBOOST_LOGIT,
    FE_XGBOOST_LOG,
    FE_XGBOOST_SOFTPLUS /* of differences, from the second on */
};

struct fe_xgboost_objective {
    const char *name;
    enum fe_xgboost_link link;
    enum fe_xgboost_base base;
};

/* The parts of a tree, as the file names them. */
enum fe_xgboost_key {
    FE_XGBOOST_LEFT,
    FE_XGBOOST_RIGHT,
    FE_XGBOOST_FEATURE,
    FE_XGBOOST_DEFAULT_LEFT,
    FE_XGBOOST_TYPE,
    FE_XGBOOST_CATEGORIES,
    FE_XGBOOST_CATEGORY_NODES,
    FE_XGBOOST_SEGMENTS,
    FE_XGBOOST_SIZES,
    FE_XGBOOST_CONDITION, /* from here on numbers of f32 */
    FE_XGBOOST_WEIGHTS,
    FE_XGBOOST_LEAF_WEIGHTS,
    FE_XGBOOST_HESSIAN, /* the cover of contributions */
    FE_XGBOOST_PARAM, /* an object */
    FE_XGBOOST_N_KEYS
};

struct fe_xgboost {
    struct fe_json json;
    struct ir_arena scratch; /* of the importer, freed at its end */

    int64_t version[3]; /* 0 where the file does not say */
    bool linear;        /* gblinear */
    int64_t n_features;
    int64_t n_groups; /* margins: classes, targets, or 1 */
    const struct fe_xgboost_objective *objective;
    float *base;             /* [n_groups], as margins */
    const char **names;      /* [n_features], or NULL */
    bool *categorical;       /* [n_features] */
    bool has_types;          /* the file says which are */
    const char *best_iteration; /* NULL when the file does not say */

    struct fe_value cats;    /* the names of categories, or absent */
    struct fe_value trees, tree_info, drop;
    int64_t n_trees;
    int64_t leaf_width;  /* 1, or n_groups */
    int64_t n_set_words; /* of all sets so far */
    struct ir_forest_builder *forest;

    struct fe_numbers info, weights; /* tree_info; weight_drop or gblinear's */
    struct fe_numbers part[FE_XGBOOST_N_KEYS]; /* of the tree being read */
    struct fe_numbers parent, order, place;    /* the same, int64_t */
    struct fe_numbers words;                   /* of one set, uint32_t */
};

/* -------------------------------------------------------- xgboost_tree.c -- */

/* Adds tree `index` to the forest. */
bool fe_xgboost_tree(struct fe_xgboost *model, int64_t index,
                     const struct fe_value *tree);
/* A whole number that the file has as a string: "13". */
bool fe_xgboost_param(struct fe_xgboost *model, const struct fe_value *value,
                      const char *name, int64_t low, int64_t high,
                      int64_t *i);
/* Room for n items of `size` bytes; what it held is lost. */
void *fe_xgboost_room(struct fe_numbers *room, int64_t n, size_t size);

/* ------------------------------------------------------- xgboost_build.c -- */

/* Fills `module` with what was read and verifies it. */
bool fe_xgboost_build(struct fe_xgboost *model, struct ir_module *module);

#endif
