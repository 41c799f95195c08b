/* main.c: the command table, --help and --version.
 *
 * What treenail does is in the commands: see cmd_compile.c first.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command *const commands[] = {
    &cli_train, &cli_compile, &cli_predict, &cli_verify,
    &cli_inspect, &cli_bench, &cli_opt,
};

static void print_help(FILE *to)
{
    fputs("usage: treenail COMMAND ...\n\n"
          "Trains models, and compiles them to native libraries that need "
          "nothing else.\n\n", to);
    for (int i = 0; i < CLI_COUNT(commands); i++)
        fprintf(to, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n"
          "  treenail COMMAND --help  says more, with an example\n"
          "  treenail --version\n\n"
          "exit code: 0 success, 1 bad input, 2 wrong usage,\n"
          "           3 a check or quality gate failed\n", to);
}

static bool command_name(const void *context, int i, char name[CLI_MAX_NAME])
{
    (void)context;
    if (i >= CLI_COUNT(commands))
        return false;
    snprintf(name, CLI_MAX_NAME, "%s", commands[i]->name);
    return true;
}

static const struct cli_command *find_command(const char *name)
{
    for (int i = 0; i < CLI_COUNT(commands); i++)
        if (!strcmp(commands[i]->name, name))
            return commands[i];
    char near[CLI_MAX_NAME];
    fprintf(stderr, "treenail: unknown command %s", name);
    if (cli_nearest(name, command_name, NULL, near))
        fprintf(stderr, " (did you mean %s?)", near);
    fputs("\nsee treenail --help\n", stderr);
    return NULL;
}

static int help_command(const char *name)
{
    const struct cli_command *command = name ? find_command(name) : NULL;
    if (command)
        cli_command_help(command, stdout);
    else if (!name)
        print_help(stdout);
    return command || !name ? CLI_OK : CLI_BAD_USAGE;
}

static int run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_BAD_USAGE;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "version")) {
        puts("treenail " IR_VERSION);
        return CLI_OK;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") ||
        !strcmp(argv[1], "help"))
        return help_command(argc > 2 ? argv[2] : NULL);
    const struct cli_command *command = find_command(argv[1]);
    return command ? command->run(argc - 1, argv + 1) : CLI_BAD_USAGE;
}

/* A closed standard descriptor would be given to the next file that is
 * opened, and messages would end up in it. Open read-only, it makes writes
 * fail as they should. */
static void hold_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDONLY);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    const int code = run(argc, argv);
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "standard output: %s\n",
            errno ? strerror(errno) : "could not be written");
    return code == CLI_OK ? CLI_BAD_INPUT : code;
}
