/* params.c: the parameters of all learners, one line each. */
#include "trainer/private.h"

#include <math.h>
#include <string.h>

#define AT(field) offsetof(struct tr_params, field)
#define TREES "boost forest tree"
#define ALL "boost forest tree net"
#define CARTS "forest tree"

const struct tr_param tr_param_table[] = {
    {"objective", "application loss", ALL, TR_CHOICE, AT(objective), 0, 0,
     false, "auto regression regression_l1 binary multiclass", "auto",
     "what is minimised; auto: by the target"},
    {"metric", "", ALL, TR_CHOICE, AT(metric), 0, 0, false,
     "auto rmse mae r2 logloss auc accuracy", "auto",
     "for reports and early stopping"},
    {"criterion", "", CARTS, TR_CHOICE, AT(criterion), 0, 0, false,
     "gini entropy", "gini", "impurity of classes that splits lessen"},
    {"rounds", "num_iterations n_estimators num_trees num_boost_round",
     "boost forest", TR_INT, AT(rounds), 1, 100000, false, NULL, "100",
     "rounds of boosting, or trees of a forest"},
    {"learning_rate", "shrinkage_rate eta", "boost net", TR_FLOAT,
     AT(learning_rate), 0, 10, true, NULL, "0.1",
     "factor on each tree's values, or of a net's steps"},
    {"num_leaves", "num_leaf max_leaves", TREES, TR_INT, AT(num_leaves), 0,
     1 << 24, false, NULL, "31", "most leaves of a tree; 0: no limit"},
    {"max_depth", "", TREES, TR_INT, AT(max_depth), 0, 1 << 24, false, NULL,
     "0", "most splits from root to leaf; 0: no limit"},
    {"min_child_rows", "min_data_in_leaf min_child_samples min_samples_leaf",
     TREES, TR_INT, AT(min_child_rows), 1, 1 << 30, false, NULL, "20",
     "fewest rows of a leaf"},
    {"min_child_weight", "min_sum_hessian_in_leaf min_sum_hessian", "boost",
     TR_FLOAT, AT(min_child_weight), 0, 1e300, false, NULL, "0.001",
     "least sum of hessians in a leaf"},
    {"min_gain", "min_gain_to_split min_split_gain", TREES, TR_FLOAT,
     AT(min_gain), 0, 1e300, false, NULL, "0",
     "least that a split must gain"},
    {"max_bin", "max_bins", TREES, TR_INT, AT(max_bin), 2, 255, false, NULL,
     "255", "most intervals that a number column is cut into"},
    {"lambda_l1", "reg_alpha", "boost", TR_FLOAT, AT(lambda_l1), 0, 1e300,
     false, NULL, "0", "L1 regularisation of leaf values"},
    {"lambda_l2", "reg_lambda lambda", "boost", TR_FLOAT, AT(lambda_l2), 0,
     1e300, false, NULL, "0", "L2 regularisation of leaf values"},
    {"bagging_fraction", "subsample bagging sub_row", "boost forest",
     TR_FLOAT, AT(bagging_fraction), 0, 1, true, NULL, "1",
     "share of the rows that is drawn for each tree"},
    {"bootstrap", "", "forest", TR_BOOL, AT(bootstrap), 0, 0, false, NULL,
     "true", "draw rows with replacement"},
    {"feature_fraction", "colsample_bytree max_features sub_feature", TREES,
     TR_FLOAT, AT(feature_fraction), 0, 1, false, NULL, "1",
     "share of the columns that is drawn for each tree (boost) or split; "
     "0: the square root of their number"},
    {"early_stopping_rounds", "early_stopping_round early_stopping",
     "boost net", TR_INT, AT(early_stopping_rounds), 0, 100000, false, NULL,
     "0",
     "stop when the validation rows got no better for so long; 0: never"},
    {"max_cat_to_onehot", "", TREES, TR_INT, AT(max_cat_to_onehot), 1, 255,
     false, NULL, "4", "up to so many categories: one against the rest"},
    {"max_cat_threshold", "", TREES, TR_INT, AT(max_cat_threshold), 1, 255,
     false, NULL, "32", "most categories on the smaller side of a split"},
    {"min_cat_rows", "min_data_per_group", TREES, TR_INT, AT(min_cat_rows), 1,
     1 << 30, false, NULL, "10",
     "rows that a category needs to be split on"},
    {"cat_smooth", "", "boost", TR_FLOAT, AT(cat_smooth), 0, 1e300, false,
     NULL, "10", "weight that pulls categories to the mean in their order"},
    {"cat_l2", "", "boost", TR_FLOAT, AT(cat_l2), 0, 1e300, false, NULL, "10",
     "more L2 regularisation in splits on categories"},
    {"layers", "", "net", TR_TEXT, AT(layers), 0, 0, false, NULL,
     "dense 64 relu; dense 32 relu",
     "between the columns and the outputs; see below"},
    {"input_shape", "", "net", TR_TEXT, AT(input_shape), 0, 0, false, NULL,
     "", "of the columns: 1x28x28 channels, rows, columns; 24x3 steps of a "
     "series; none: a vector"},
    {"standardize", "", "net", TR_CHOICE, AT(standardize), 0, 0, false,
     "auto column channel all none", "auto",
     "to mean 0 and variance 1; auto: each column or, with a shape, channel"},
    {"epochs", "", "net", TR_INT, AT(epochs), 1, TR_MAX_EPOCHS, false, NULL,
     "30", "times that all rows are learned from"},
    {"batch_size", "", "net", TR_INT, AT(batch_size), 1, 65536, false, NULL,
     "64", "rows of a step, at most"},
    {"optimizer", "", "net", TR_CHOICE, AT(optimizer), 0, 0, false,
     "sgd momentum adam adamw", "adam", "how steps follow gradients"},
    {"momentum", "", "net", TR_FLOAT, AT(momentum), 0, 0.9999, false, NULL,
     "0.9", "of the optimizer of this name"},
    {"beta1", "", "net", TR_FLOAT, AT(beta1), 0, 0.9999, false, NULL, "0.9",
     "of adam: how long the gradient's mean remembers"},
    {"beta2", "", "net", TR_FLOAT, AT(beta2), 0, 0.999999, false, NULL,
     "0.999", "of adam: how long that of its square does"},
    {"epsilon", "", "net", TR_FLOAT, AT(epsilon), 0, 1, true, NULL, "1e-8",
     "of adam: added to the root of that mean"},
    {"weight_decay", "", "net", TR_FLOAT, AT(weight_decay), 0, 1, false,
     NULL, "0", "pull of weights, not biases, to 0"},
    {"clip_norm", "", "net", TR_FLOAT, AT(clip_norm), 0, 1e300, false, NULL,
     "0", "most that the gradient's norm may be; 0: no limit"},
    {"schedule", "", "net", TR_CHOICE, AT(schedule), 0, 0, false,
     "constant linear cosine step exponential", "constant",
     "of the learning rate; linear and cosine end at 0"},
    {"decay", "", "net", TR_FLOAT, AT(decay), 0, 1, true, NULL, "0.1",
     "schedule step: a factor every decay_epochs; exponential: every one"},
    {"decay_epochs", "", "net", TR_INT, AT(decay_epochs), 1, TR_MAX_EPOCHS,
     false, NULL, "10", "see decay"},
    {"warmup", "", "net", TR_FLOAT, AT(warmup), 0, 1, false, NULL, "0",
     "share of all steps in which the learning rate rises from 0"},
    {"class_weight", "", "net", TR_TEXT, AT(class_weight), 0, 0, false, NULL,
     "none", "none, balanced, or LABEL:WEIGHT,..."},
    {"max_one_hot", "", "net", TR_INT, AT(max_one_hot), 0, 65536, false,
     NULL, "16", "up to so many categories: a number each; else embedded"},
    {"embedding_size", "", "net", TR_INT, AT(embedding_size), 0, 1024, false,
     NULL, "0", "numbers of an embedded category; 0: half as many as there "
     "are categories, 16 at most"},
    {"checkpoint", "", "net", TR_TEXT, AT(checkpoint), 0, 0, false, NULL, "",
     "file that the state of the fit is written to"},
    {"checkpoint_epochs", "", "net", TR_INT, AT(checkpoint_epochs), 1,
     TR_MAX_EPOCHS, false, NULL, "1", "epochs between two checkpoints"},
    {"resume", "", "net", TR_TEXT, AT(resume), 0, 0, false, NULL, "",
     "checkpoint that the fit goes on from, to the same bits"},
    {"seed", "random_state random_seed", ALL, TR_SEED, AT(seed), 0,
     9007199254740992.0, false, NULL, "1", "of all that is drawn"},
    {"threads", "num_threads n_jobs nthread", TREES, TR_INT,
     AT(threads), 0, TR_MAX_THREADS, false, NULL, "0",
     "that work at a time; 0: one a core"},
};
const int tr_param_count =
    (int)(sizeof(tr_param_table) / sizeof(tr_param_table[0]));

/* Every choice as a string of its own, which params can point to. */
static const char *const choice_words[] = {
    "auto", "regression", "regression_l1", "binary", "multiclass", "rmse",
    "mae", "r2", "logloss", "auc", "accuracy", "gini", "entropy", "column",
    "channel", "all", "none", "sgd", "momentum", "adam", "adamw", "constant",
    "linear", "cosine", "step", "exponential"};

/* --------------------------------------------------------------- names -- */

/* Names may be written with - for _. */
static bool same_name(const char *name, const char *own, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (name[i] != own[i] && !(name[i] == '-' && own[i] == '_'))
            return false;
    return name[n] == '\0';
}

/* Whether `name` is among words that spaces part. */
static bool is_among(const char *words, const char *name)
{
    for (const char *at = words; *at;) {
        const size_t n = strcspn(at, " ");
        if (same_name(name, at, n))
            return true;
        at += n + (at[n] == ' ');
    }
    return false;
}

static const struct tr_param *find(const char *name, struct ir_diag *diag)
{
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        if (same_name(name, p->name, strlen(p->name)) ||
            is_among(p->aliases, name))
            return p;
    }
    struct ir_text names;
    ir_text_init(&names);
    for (int i = 0; i < tr_param_count; i++)
        ir_text_printf(&names, "%s%s", i ? ", " : "", tr_param_table[i].name);
    ir_error(diag, ir_loc_file(NULL),
             "there is no parameter named \"%s\" (there are: %s)", name,
             names.data);
    ir_text_release(&names);
    return NULL;
}

/* -------------------------------------------------------------- values -- */

static bool bad_value(const struct tr_param *p, const char *value,
                      const char *wanted, struct ir_diag *diag)
{
    return ir_error(diag, ir_loc_file(NULL), "parameter %s: \"%s\" is no %s",
                    p->name, value, wanted);
}

static bool out_of_range(const struct tr_param *p, const char *value,
                         struct ir_diag *diag)
{
    return ir_error(diag, ir_loc_file(NULL),
                    "parameter %s: %s is not within %c%.16g, %.16g]", p->name,
                    value, p->min_open ? '(' : '[', p->min, p->max);
}

bool tr_is_whole(const char *text)
{
    text += *text == '-';
    return *text && !text[strspn(text, "0123456789")];
}

static bool set_int(const struct tr_param *p, void *at, const char *value,
                    struct ir_diag *diag)
{
    int64_t v;
    if (!ir_parse_int(value, value + strlen(value), &v))
        return tr_is_whole(value) ? out_of_range(p, value, diag)
                                  : bad_value(p, value, "whole number", diag);
    /* As whole numbers: a double would round a seed. */
    if (v < (int64_t)p->min || v > (int64_t)p->max)
        return out_of_range(p, value, diag);
    if (p->kind == TR_SEED)
        *(uint64_t *)at = (uint64_t)v;
    else
        *(int *)at = (int)v;
    return true;
}

static bool set_float(const struct tr_param *p, double *at,
                      const char *value, struct ir_diag *diag)
{
    double v;
    if (!ir_parse_double(value, value + strlen(value), &v) || isnan(v))
        return bad_value(p, value, "number", diag);
    if ((p->min_open ? v <= p->min : v < p->min) || v > p->max)
        return out_of_range(p, value, diag);
    *at = v;
    return true;
}

static bool set_bool(const struct tr_param *p, bool *at, const char *value,
                     struct ir_diag *diag)
{
    const bool yes = !strcmp(value, "true") || !strcmp(value, "1");
    if (!yes && strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
        return bad_value(p, value, "true or false", diag);
    *at = yes;
    return true;
}

static bool set_choice(const struct tr_param *p, const char **at,
                       const char *value, struct ir_diag *diag)
{
    if (is_among(p->choices, value))
        for (size_t i = 0; i < sizeof(choice_words) / sizeof(char *); i++)
            if (same_name(value, choice_words[i], strlen(choice_words[i]))) {
                *at = choice_words[i];
                return true;
            }
    return ir_error(diag, ir_loc_file(NULL),
                    "parameter %s: \"%s\" is none of: %s", p->name, value,
                    p->choices);
}

static bool set_text(const struct tr_param *p, const char **at,
                     const char *value, struct ir_diag *diag)
{
    int64_t dim[3];
    *at = value;
    if (p->offset == AT(layers))
        return tr_layers_check(value, diag);
    return p->offset != AT(input_shape) || !*value ||
           tr_shape_parse(value, dim, diag) > 0;
}

bool tr_param_heeds(const struct tr_param *param,
                    const struct tr_learner *learner)
{
    return is_among(param->learners, learner->name);
}

bool tr_params_set(struct tr_params *params, const char *name,
                   const char *value, struct ir_diag *diag)
{
    const struct tr_param *p = find(name, diag);
    if (!p)
        return false;
    if (params->learner && !tr_param_heeds(p, params->learner))
        return ir_error(diag, ir_loc_file(NULL),
                        "parameter %s: learner %s has no use for it (%s)",
                        p->name, params->learner->name, p->learners);
    void *at = (char *)params + p->offset;
    switch (p->kind) {
    case TR_INT:
    case TR_SEED:
        return set_int(p, at, value, diag);
    case TR_FLOAT:
        return set_float(p, at, value, diag);
    case TR_BOOL:
        return set_bool(p, at, value, diag);
    case TR_CHOICE:
        return set_choice(p, at, value, diag);
    case TR_TEXT:
        return set_text(p, at, value, diag);
    }
    ir_bug("parameter %s is of no kind", p->name);
}

bool tr_params_assign(struct tr_params *params, const char *assignment,
                      struct ir_diag *diag)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return ir_error(diag, ir_loc_file(NULL), "\"%s\" is no name=value",
                        assignment);
    char *name =
        ir_strndup(&diag->arena, assignment, (size_t)(equals - assignment));
    return tr_params_set(params, name, equals + 1, diag);
}

/* ------------------------------------------------------------ defaults -- */

static void assign_all(struct tr_params *params, const char *assignments,
                       struct ir_diag *diag)
{
    for (const char *at = assignments; at && *at;) {
        const size_t n = strcspn(at, " ");
        tr_params_assign(params, ir_strndup(&diag->arena, at, n), diag);
        at += n + (at[n] == ' ');
    }
}

void tr_params_init(struct tr_params *params,
                    const struct tr_learner *learner)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    *params = (struct tr_params){0};
    for (int i = 0; i < tr_param_count; i++)
        tr_params_set(params, tr_param_table[i].name,
                      tr_param_table[i].fallback, &diag);
    params->learner = learner;
    assign_all(params, learner->defaults, &diag);
    if (diag.n_messages)
        ir_bug("a default that is none: %s", diag.message[0]);
    ir_diag_release(&diag);
}
