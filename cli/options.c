/* options.c: reads a command line by the command's table.
 *
 * --name VALUE, --name=VALUE, -n VALUE and -nVALUE, anywhere on the line; what
 * follows "--" is arguments. Names are never abbreviated, so that a new option
 * cannot change what an old script means.
 */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- names -- */

/* `_` is as good as `-`: learners' parameters are known by names with it. */
static bool same_letter(char a, char b)
{
    return a == b || ((a == '-' || a == '_') && (b == '-' || b == '_'));
}

static bool same_name(const char *name, const char *word, size_t length)
{
    if (strlen(name) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!same_letter(name[i], word[i]))
            return false;
    return true;
}

static int min3(int a, int b, int c)
{
    const int ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn one
 * into the other (optimal string alignment), row by row. */
static int edit_distance(const char *a, const char *b)
{
    const size_t n = strlen(a), m = strlen(b);
    if (n >= CLI_MAX_NAME || m >= CLI_MAX_NAME)
        return CLI_MAX_NAME;
    int row[3][CLI_MAX_NAME];
    for (size_t j = 0; j <= m; j++)
        row[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = row[i % 3];
        const int *last = row[(i - 1) % 3], *older = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1,
                          last[j - 1] + !same_letter(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
                a[i - 2] == b[j - 1] && older[j - 2] + 1 < now[j])
                now[j] = older[j - 2] + 1;
        }
    }
    return row[n % 3][m];
}

bool cli_nearest(const char *name, cli_name_fn *name_at, const void *context,
                 char nearest[CLI_MAX_NAME])
{
    bool found = false;
    const int length = (int)strlen(name);
    int best = length / 3 + 2; /* a typing error, no other word */
    if (best > length)
        best = length;
    char candidate[CLI_MAX_NAME];
    for (int i = 0; name_at(context, i, candidate); i++) {
        const int distance = edit_distance(name, candidate);
        if (distance >= best)
            continue;
        best = distance;
        memcpy(nearest, candidate, CLI_MAX_NAME);
        found = true;
    }
    return found;
}

static bool option_name(const void *context, int i, char name[CLI_MAX_NAME])
{
    const struct cli_command *command = context;
    if (i > command->n_options)
        return command->more_name &&
               command->more_name(i - command->n_options - 1, name);
    snprintf(name, CLI_MAX_NAME, "%s",
             i < command->n_options ? command->options[i].name : "help");
    return true;
}

bool cli_delimiter(const char *value, char *delimiter)
{
    if (value && !strcmp(value, "tab"))
        value = "\t";
    *delimiter = value ? *value : 0;
    return !value || (strlen(value) == 1 && !strchr("\"\r\n", *value));
}

const char **cli_split(struct ir_arena *arena, const char *list, int *n)
{
    int count = 1;
    for (const char *s = list; *s; s++)
        count += *s == ',';
    const char **part = ir_alloc_array(arena, (size_t)count, sizeof(*part));
    for (int i = 0; i < count; i++) {
        const size_t length = strcspn(list, ",");
        part[i] = ir_strndup(arena, list, length);
        list += length + 1;
    }
    *n = count;
    return part;
}

/* ------------------------------------------------------------- errors -- */

int cli_usage_error(const struct cli_command *command, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "treenail %s: ", command->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nsee treenail %s --help\n", command->name);
    return CLI_BAD_USAGE;
}

static int unknown_option(const struct cli_command *command, const char *name,
                          size_t length)
{
    char text[CLI_MAX_NAME], near[CLI_MAX_NAME];
    snprintf(text, sizeof(text), "%.*s",
             (int)(length < CLI_MAX_NAME ? length : CLI_MAX_NAME), name);
    if (cli_nearest(text, option_name, command, near))
        return cli_usage_error(command,
                               "unknown option --%s (did you mean --%s?)",
                               text, near);
    return cli_usage_error(command, "unknown option --%s", text);
}

/* ------------------------------------------------------------- values -- */

static int out_of_range(const struct cli_command *command,
                        const struct cli_option *option, const char *text)
{
    const int digits = option->kind == CLI_KIND_INT ? 17 : 15;
    return cli_usage_error(command,
                           "option --%s: %s is out of range (%.*g to %.*g)",
                           option->name, text, digits, option->min, digits,
                           option->max);
}

static int set_number(const struct cli_command *command,
                      const struct cli_option *option, const char *text,
                      void *field)
{
    const char *end = text + strlen(text);
    int64_t i = 0;
    double f = 0;
    const bool whole = option->kind == CLI_KIND_INT;
    const bool good = whole ? ir_parse_int(text, end, &i)
                            : ir_parse_double(text, end, &f) && !isnan(f);
    if (!good && whole && tr_is_whole(text)) /* of more than 64 bits */
        return out_of_range(command, option, text);
    if (!good)
        return cli_usage_error(command, "option --%s: \"%s\" is no %s",
                               option->name, text,
                               whole ? "whole number" : "number");
    const double v = whole ? (double)i : f;
    if (v < option->min || v > option->max)
        return out_of_range(command, option, text);
    if (whole)
        *(int64_t *)field = i;
    else
        *(double *)field = f;
    return CLI_OK;
}

static int set_option(const struct cli_command *command,
                      const struct cli_option *option, const char *value,
                      void *options)
{
    void *field = (char *)options + option->offset;
    if (option->kind == CLI_KIND_FLAG)
        *(bool *)field = true;
    else if (option->kind != CLI_KIND_TEXT)
        return set_number(command, option, value, field);
    else if (!*value)
        return cli_usage_error(command, "option --%s: %s is empty",
                               option->name, option->argument);
    else
        *(const char **)field = value;
    return CLI_OK;
}

/* ------------------------------------------------------------ parsing -- */

/* What is left of the line. */
struct cursor {
    const struct cli_command *command;
    int argc, at;
    char **argv;
    void *options;
};

/* The value of an option: what follows it in its own word (when not NULL),
 * else the next word. */
static const char *take_value(struct cursor *c, const char *attached)
{
    if (attached)
        return attached;
    return c->at < c->argc ? c->argv[c->at++] : NULL;
}

static int apply_option(struct cursor *c, const struct cli_option *option,
                        const char *attached)
{
    if (option->kind == CLI_KIND_FLAG)
        return attached
            ? cli_usage_error(c->command, "option --%s takes no value",
                              option->name)
            : set_option(c->command, option, NULL, c->options);
    const char *value = take_value(c, attached);
    if (!value)
        return cli_usage_error(c->command, "option --%s needs a value (%s)",
                               option->name, option->argument);
    return set_option(c->command, option, value, c->options);
}

static int apply_more(struct cursor *c, const char *name,
                      const char *attached)
{
    const char *value = take_value(c, attached);
    if (!value)
        return cli_usage_error(c->command, "option --%s needs a value", name);
    return c->command->more_take(c->options, name, value);
}

static int parse_long(struct cursor *c, const char *word)
{
    const struct cli_command *command = c->command;
    const size_t length = strcspn(word, "=");
    const char *attached = word[length] ? word + length + 1 : NULL;
    for (int i = 0; i < command->n_options; i++) {
        const struct cli_option *option = &command->options[i];
        if (same_name(option->name, word, length))
            return apply_option(c, option, attached);
    }
    char name[CLI_MAX_NAME];
    for (int i = 0; command->more_name && command->more_name(i, name); i++)
        if (same_name(name, word, length))
            return apply_more(c, name, attached);
    return unknown_option(command, word, length);
}

static int parse_short(struct cursor *c, const char *word)
{
    const struct cli_command *command = c->command;
    for (; *word; word++) {
        int i = 0;
        while (i < command->n_options && command->options[i].letter != *word)
            i++;
        if (i == command->n_options)
            return cli_usage_error(command, "unknown option -%c", *word);
        const struct cli_option *option = &command->options[i];
        if (option->kind != CLI_KIND_FLAG && word[1] == '=')
            return cli_usage_error(command, "option -%s: a value follows a "
                                   "letter without =", word);
        if (option->kind != CLI_KIND_FLAG)
            return apply_option(c, option, word[1] ? word + 1 : NULL);
        set_option(command, option, NULL, c->options);
    }
    return CLI_OK;
}

static int add_argument(const struct cli_command *command,
                        struct cli_line *line, const char *word)
{
    if (line->n_arguments == command->max_arguments)
        return cli_usage_error(command, "one argument too many: %s", word);
    if (!*word)
        return cli_usage_error(command, "an argument is empty (%s)",
                               command->arguments);
    line->argument[line->n_arguments++] = word;
    return CLI_OK;
}

/* Help wins over every error, wherever it stands. */
static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
            return true;
    return false;
}

bool cli_parse(const struct cli_command *command, int argc, char **argv,
               void *options, struct cli_line *line)
{
    *line = (struct cli_line){.exit_code = CLI_OK};
    if (wants_help(argc, argv)) {
        cli_command_help(command, stdout);
        return false;
    }
    struct cursor c = {command, argc, 1, argv, options};
    bool only_arguments = false;
    while (c.at < argc && line->exit_code == CLI_OK) {
        const char *word = argv[c.at++];
        if (only_arguments || word[0] != '-' || !word[1])
            line->exit_code = add_argument(command, line, word);
        else if (!strcmp(word, "--"))
            only_arguments = true;
        else if (word[1] == '-')
            line->exit_code = parse_long(&c, word + 2);
        else
            line->exit_code = parse_short(&c, word + 1);
    }
    if (line->exit_code == CLI_OK &&
        line->n_arguments < command->min_arguments)
        line->exit_code = cli_usage_error(
            command, "an argument is missing (%s)", command->arguments);
    return line->exit_code == CLI_OK;
}

/* --------------------------------------------------------------- help -- */

static void print_option(const struct cli_option *option, FILE *to)
{
    char left[64];
    snprintf(left, sizeof(left), "%c%c%s--%s%s%s",
             option->letter ? '-' : ' ', option->letter ? option->letter : ' ',
             option->letter ? ", " : "  ", option->name,
             option->argument ? " " : "",
             option->argument ? option->argument : "");
    fprintf(to, "  %-24s", left);
    if (strlen(left) > 22)
        fprintf(to, "\n%26s", "");
    for (const char *line = option->help; *line;) {
        const size_t n = strcspn(line, "\n");
        fprintf(to, "%.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
        if (*line)
            fprintf(to, "%26s", "");
    }
}

void cli_command_help(const struct cli_command *command, FILE *to)
{
    fprintf(to, "usage: treenail %s %s\n\n%s\n\n", command->name,
            command->arguments, command->summary);
    for (int i = 0; i < command->n_options; i++)
        print_option(&command->options[i], to);
    if (command->more_help)
        command->more_help(to);
    fprintf(to, "\n%s", command->example);
}
