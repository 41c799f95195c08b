/* test_params.c: each parameter by its names, within its range and no further;
 * defaults; what messages name. */
#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Sets one parameter; returns the message, "" when there was none. */
static const char *set(struct tr_params *params, const char *name,
                       const char *value)
{
    static char message[2048];
    struct ir_diag diag;
    ir_diag_init(&diag);
    const bool good = tr_params_set(params, name, value, &diag);
    assert_int_equal(diag.n_messages, !good);
    snprintf(message, sizeof(message), "%s", good ? "" : diag.message[0]);
    ir_diag_release(&diag);
    return message;
}

static struct tr_params usual(const char *learner)
{
    struct tr_params params;
    tr_params_init(&params, tr_learner_find(learner));
    return params;
}

static bool heeds(const struct tr_param *p, const char *learner)
{
    return strstr(p->learners, learner) != NULL;
}

static void defaults_are_the_table_s(void **state)
{
    (void)state;
    const struct tr_params boost = usual("boost");
    assert_string_equal(boost.objective, "auto");
    assert_string_equal(boost.metric, "auto");
    assert_int_equal(boost.rounds, 100);
    assert_int_equal(boost.num_leaves, 31);
    assert_int_equal(boost.max_depth, 0);
    assert_int_equal(boost.min_child_rows, 20);
    assert_int_equal(boost.max_bin, 255);
    assert_true(boost.learning_rate == 0.1);
    assert_true(boost.min_child_weight == 0.001);
    assert_true(boost.bagging_fraction == 1);
    assert_true(boost.feature_fraction == 1);
    assert_true(boost.bootstrap);
    assert_int_equal(boost.seed, 1);
    const struct tr_params forest = usual("forest");
    assert_int_equal(forest.num_leaves, 0);
    assert_int_equal(forest.min_child_rows, 1);
    assert_true(forest.feature_fraction == 0);
    assert_string_equal(usual("tree").criterion, "gini");
}

static void learners_are_found(void **state)
{
    (void)state;
    for (int i = 0; i < tr_learner_count; i++)
        assert_ptr_equal(tr_learner_find(tr_learners[i].name),
                         &tr_learners[i]);
    assert_null(tr_learner_find("Boost"));
    assert_null(tr_learner_find(""));
}

/* All bytes of the parameters, so that a set that goes astray is seen. */
static bool same(const struct tr_params *a, const struct tr_params *b)
{
    return a->learner == b->learner && a->objective == b->objective &&
           a->metric == b->metric && a->criterion == b->criterion &&
           !memcmp(&a->rounds, &b->rounds,
                   offsetof(struct tr_params, threads) + sizeof(int) -
                       offsetof(struct tr_params, rounds)) &&
           !memcmp(&a->learning_rate, &b->learning_rate,
                   offsetof(struct tr_params, feature_fraction) +
                       sizeof(double) -
                       offsetof(struct tr_params, learning_rate)) &&
           a->bootstrap == b->bootstrap &&
           a->max_cat_to_onehot == b->max_cat_to_onehot &&
           a->max_cat_threshold == b->max_cat_threshold &&
           a->min_cat_rows == b->min_cat_rows &&
           a->cat_smooth == b->cat_smooth && a->cat_l2 == b->cat_l2 &&
           a->seed == b->seed;
}

static void names_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i < tr_param_count; i++)
        for (int j = 0; j < tr_param_count; j++) {
            const char *name = tr_param_table[i].name;
            const size_t n = strlen(name);
            assert_true(i == j || strcmp(name, tr_param_table[j].name));
            for (const char *at = tr_param_table[j].aliases; *at;) {
                const size_t length = strcspn(at, " ");
                assert_false(length == n && !memcmp(at, name, n));
                at += length + (at[length] == ' ');
            }
        }
}

/* Every alias does what the name does, with - for _ as well. */
static void aliases_mean_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        if (p->kind != TR_INT && p->kind != TR_FLOAT && p->kind != TR_SEED)
            continue;
        struct tr_params by_name = {0};
        const char *value = p->max >= 2 ? "2" : "0.5";
        assert_string_equal(set(&by_name, p->name, value), "");
        for (const char *at = p->aliases; *at;) {
            const size_t n = strcspn(at, " ");
            char alias[64];
            snprintf(alias, sizeof(alias), "%.*s", (int)n, at);
            for (char *c = alias; *c; c++)
                *c = *c == '_' ? '-' : *c;
            struct tr_params by_alias = {0};
            assert_string_equal(set(&by_alias, alias, value), "");
            assert_true(same(&by_name, &by_alias));
            at += n + (at[n] == ' ');
        }
    }
}

/* Bounds are allowed, and nothing past them. */
static void ranges_hold(void **state)
{
    (void)state;
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        if (p->kind != TR_INT && p->kind != TR_FLOAT && p->kind != TR_SEED)
            continue;
        struct tr_params params = {0};
        char text[64];
        const double step = p->kind == TR_FLOAT ? 0 : 1;
        snprintf(text, sizeof(text), "%.17g", p->max);
        assert_string_equal(set(&params, p->name, text), "");
        snprintf(text, sizeof(text), "%.17g", p->min);
        assert_int_equal(*set(&params, p->name, text) != '\0', p->min_open);
        snprintf(text, sizeof(text), "%.17g",
                 step ? p->max + 2 * step : nextafter(p->max, INFINITY));
        assert_string_not_equal(set(&params, p->name, text), "");
        snprintf(text, sizeof(text), "%.17g",
                 step ? p->min - step : nextafter(p->min, -INFINITY));
        const struct tr_params before = params;
        assert_string_not_equal(set(&params, p->name, text), "");
        assert_true(same(&params, &before));
    }
}

static void choices_are_those_listed(void **state)
{
    (void)state;
    for (int i = 0; i < tr_param_count; i++) {
        const struct tr_param *p = &tr_param_table[i];
        if (p->kind != TR_CHOICE)
            continue;
        struct tr_params params = {0};
        for (const char *at = p->choices; *at;) {
            const size_t n = strcspn(at, " ");
            char word[64];
            snprintf(word, sizeof(word), "%.*s", (int)n, at);
            assert_string_equal(set(&params, p->name, word), "");
            assert_string_equal(
                *(const char **)((char *)&params + p->offset), word);
            at += n + (at[n] == ' ');
        }
        assert_string_not_equal(set(&params, p->name, ""), "");
        assert_string_not_equal(set(&params, p->name, "aut"), "");
        assert_string_not_equal(set(&params, p->name, "auto "), "");
        assert_string_not_equal(set(&params, p->name, p->choices), "");
    }
    /* Every metric and every objective can be chosen. */
    struct tr_params params = {0};
    for (int i = 0; i < tr_metric_count; i++)
        assert_string_equal(set(&params, "metric", tr_metrics[i].name), "");
}

static void texts_are_read_whole(void **state)
{
    (void)state;
    struct tr_params params = usual("boost");
    assert_string_equal(set(&params, "seed", "9007199254740992"), "");
    assert_true(params.seed == UINT64_C(9007199254740992));
    assert_string_equal(set(&params, "seed", "9007199254740993"),
                        "parameter seed: 9007199254740993 is not within "
                        "[0, 9007199254740992]");
    assert_string_equal(set(&params, "rounds", "4294967297"),
                        "parameter rounds: 4294967297 is not within "
                        "[1, 100000]");
    assert_string_equal(set(&params, "learning_rate", "0"),
                        "parameter learning_rate: 0 is not within (0, 10]");
    assert_string_equal(set(&params, "learning_rate", "0x1p-4"), "");
    assert_true(params.learning_rate == 0.0625);
    assert_string_equal(set(&params, "rounds", "7 "),
                        "parameter rounds: \"7 \" is no whole number");
    assert_string_equal(set(&params, "rounds", ""),
                        "parameter rounds: \"\" is no whole number");
    assert_string_equal(set(&params, "rounds", "1e2"),
                        "parameter rounds: \"1e2\" is no whole number");
    assert_string_equal(
        set(&params, "rounds", "99999999999999999999"),
        "parameter rounds: 99999999999999999999 is not within "
        "[1, 100000]");
    assert_string_equal(set(&params, "learning_rate", "fast"),
                        "parameter learning_rate: \"fast\" is no number");
    assert_string_equal(set(&params, "learning_rate", "nan"),
                        "parameter learning_rate: \"nan\" is no number");
    params = usual("forest");
    assert_string_equal(set(&params, "bootstrap", "0"), "");
    assert_false(params.bootstrap);
    assert_string_equal(set(&params, "bootstrap", "true"), "");
    assert_true(params.bootstrap);
    assert_string_equal(set(&params, "bootstrap", "yes"),
                        "parameter bootstrap: \"yes\" is no true or false");
    assert_true(params.bootstrap); /* as it was */
}

/* The caller's text may go away; the parameter stays. */
static void texts_are_not_kept(void **state)
{
    (void)state;
    struct tr_params params = usual("boost");
    char text[] = "binary";
    assert_string_equal(set(&params, "objective", text), "");
    memset(text, 'x', sizeof(text) - 1);
    assert_string_equal(params.objective, "binary");
}

static void learners_heed_what_the_table_says(void **state)
{
    (void)state;
    for (int l = 0; l < tr_learner_count; l++)
        for (int i = 0; i < tr_param_count; i++) {
            const struct tr_param *p = &tr_param_table[i];
            struct tr_params params = usual(tr_learners[l].name);
            const char *message = set(&params, p->name, p->fallback);
            assert_int_equal(*message == '\0',
                             heeds(p, tr_learners[l].name));
        }
    struct tr_params params = usual("tree");
    assert_string_equal(set(&params, "eta", "0.5"),
                        "parameter learning_rate: learner tree has no use "
                        "for it (boost net)");
}

static void unknown_names_list_the_known(void **state)
{
    (void)state;
    struct tr_params params = usual("boost");
    const char *message = set(&params, "num_leafs", "3");
    assert_memory_equal(message,
                        "there is no parameter named \"num_leafs\" (there "
                        "are: objective, metric,", 70);
    assert_non_null(strstr(message, "num_leaves"));
    assert_string_not_equal(set(&params, "", "3"), "");
    assert_string_not_equal(set(&params, "num", "3"), "");
    assert_string_not_equal(set(&params, "num_leaves_", "3"), "");
    assert_string_not_equal(set(&params, " ", "3"), "");
}

static const char *assign(struct tr_params *params, const char *text)
{
    static char message[256];
    struct ir_diag diag;
    ir_diag_init(&diag);
    const bool good = tr_params_assign(params, text, &diag);
    assert_int_equal(diag.n_messages, !good);
    snprintf(message, sizeof(message), "%s", good ? "" : diag.message[0]);
    ir_diag_release(&diag);
    return message;
}

static void assignments_are_taken_apart(void **state)
{
    (void)state;
    struct tr_params params = usual("boost");
    assert_string_equal(assign(&params, "num-leaves=7"), "");
    assert_int_equal(params.num_leaves, 7);
    assert_string_equal(assign(&params, "num_leaves"),
                        "\"num_leaves\" is no name=value");
    assert_string_equal(assign(&params, "=7"), "\"=7\" is no name=value");
    assert_string_equal(assign(&params, "rounds=1=2"),
                        "parameter rounds: \"1=2\" is no whole number");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_table_s),
        cmocka_unit_test(learners_are_found),
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(aliases_mean_the_same),
        cmocka_unit_test(ranges_hold),
        cmocka_unit_test(choices_are_those_listed),
        cmocka_unit_test(texts_are_read_whole),
        cmocka_unit_test(texts_are_not_kept),
        cmocka_unit_test(learners_heed_what_the_table_says),
        cmocka_unit_test(unknown_names_list_the_known),
        cmocka_unit_test(assignments_are_taken_apart),
    };
    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
