/*
 * The daemon's settings: the command line first, then coffer.conf where it said nothing.
 *
 * One thread, before the daemon starts any other.
 */
#include "server/settings.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "engine/coffer.h"
#include "engine/pool/conf.h"

static const char help[] =
    "Usage: cofferd DIR [OPTION]…\n"
    "Serves the virtual disks of the pool in the directory DIR over NBD.\n"
    "\n"
    "  --nbd ADDRESS           where to listen, any number of times: unix:PATH, tcp:HOST:PORT (without TLS, so only\n"
    "                          with `insecure = yes` in [server] of DIR/coffer.conf), or stdio: serve the one client\n"
    "                          whose socket is standard input, then end. Default: unix:DIR/nbd.sock\n"
    "  --control PATH          the socket that `coffer` talks to. Default: DIR/control.sock\n"
    "  --memory SIZE           bound for buffers, tables and caches, such as 256M or 2G. Default: the conf's\n"
    "  --passphrase-file FILE  the passphrase of a pool sealed by one; \"-\": standard input. A systemd credential\n"
    "                          coffer.passphrase is found without this option\n"
    "  --accept-rollback       open although the disks are older than what this pool has seen (what was written since\n"
    "                          is gone), or although DIR/witness is older than the disks or lost (it is made anew);\n"
    "                          for one start only\n"
    "  --help, --version\n"
    "\n"
    "Without a key the daemon starts locked: NBD clients are refused until `coffer -C DIR unlock`.\n"
    "SIGTERM ends it cleanly: requests that run are answered, everything is flushed.\n"
    "\n"
    "Examples:\n"
    "  coffer create /srv/pool --size 20G                     make a pool\n"
    "  cofferd /srv/pool                                      serve it\n"
    "  coffer -C /srv/pool object create disk1 --size 10G     make a virtual disk\n"
    "  nbdinfo 'nbd+unix:///disk1?socket=/srv/pool/nbd.sock'  look at it as a client\n"
    "\n"
    "Exit status: 0 ended by a signal, 1 failure, 2 wrong usage, 3 refused.\n";

enum {
    OPTION_NBD = 1,
    OPTION_CONTROL,
    OPTION_MEMORY,
    OPTION_PASSPHRASE_FILE,
    OPTION_ACCEPT_ROLLBACK,
    OPTION_HELP,
    OPTION_VERSION
};

static const struct option options[] = {
    {"nbd", required_argument, NULL, OPTION_NBD},
    {"control", required_argument, NULL, OPTION_CONTROL},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"passphrase-file", required_argument, NULL, OPTION_PASSPHRASE_FILE},
    {"accept-rollback", no_argument, NULL, OPTION_ACCEPT_ROLLBACK},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

/* ---- command line ---------------------------------------------------------------------------------------------- */

static enum settings_outcome usage(const char *problem, const char *what)
{
    fprintf(stderr, "cofferd: %s%s\nTry `cofferd --help`.\n", problem, what);
    return SETTINGS_USAGE;
}

static enum error add_address(struct settings *settings, const char *address)
{
    if (settings->address_count == SETTINGS_ADDRESSES_MAX)
        return error_explain(ERROR_INVALID, "at most %d NBD addresses can be given", SETTINGS_ADDRESSES_MAX);
    char *copy = strdup(address);
    if (!copy)
        return ERROR_NO_MEMORY;
    settings->addresses[settings->address_count++] = copy;
    return ERROR_NONE;
}

static enum error set_control(struct settings *settings, const char *path)
{
    free(settings->control);
    settings->control = strdup(path);
    return settings->control ? ERROR_NONE : ERROR_NO_MEMORY;
}

/* As coffer.conf may have it: with less the engine would be given what is left of nothing. */
static enum error take_memory(struct settings *settings, const char *text)
{
    TRY(size_parse(text, &settings->memory));
    if (settings->memory < POOL_MEMORY_MIN || settings->memory > POOL_MEMORY_MAX)
        return error_explain(ERROR_INVALID, "--memory %s: from 64M to 16T is possible", text);
    return ERROR_NONE;
}

/* An option with its value in optarg. */
static enum error take_option(struct settings *settings, int option)
{
    switch (option) {
    case OPTION_NBD:
        return add_address(settings, optarg);
    case OPTION_CONTROL:
        return set_control(settings, optarg);
    case OPTION_MEMORY:
        return take_memory(settings, optarg);
    case OPTION_PASSPHRASE_FILE:
        settings->passphrase_file = optarg;
        return ERROR_NONE;
    default:
        settings->accept_rollback = true;
        return ERROR_NONE;
    }
}

enum settings_outcome settings_parse(int count, char *const *arguments, struct settings *settings)
{
    *settings = (struct settings){0};
    for (int option; (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            return SETTINGS_DONE;
        }
        if (option == OPTION_VERSION) {
            puts("cofferd " COFFER_VERSION);
            return SETTINGS_DONE;
        }
        if (option == '?')
            return usage("the command line is not understood", "");
        enum error error = take_option(settings, option);
        if (error != ERROR_NONE)
            return usage("", error_sentence(error));
    }
    if (optind == count)
        return usage("which pool directory?", "");
    if (optind + 1 != count)
        return usage("one pool directory only; what is this: ", arguments[optind + 1]);
    settings->directory = arguments[optind];
    return SETTINGS_RUN;
}

/* ---- conf ------------------------------------------------------------------------------------------------------ */

/* Where systemd handed sockets over, they are what the conf would say. */
static enum error take_addresses(struct settings *settings, const struct pool_conf *conf, bool activated)
{
    size_t count = settings->address_count == 0 && !activated ? conf->nbd_count : 0;
    for (size_t i = 0; i < count; i++)
        TRY(add_address(settings, conf->nbd[i]));
    return ERROR_NONE;
}

static enum error take_conf(struct settings *settings, const struct pool_conf *conf, bool activated)
{
    settings->insecure = conf->insecure;
    if (settings->memory == 0)
        settings->memory = conf->memory;
    if (!settings->control)
        TRY(set_control(settings, conf->control));
    return take_addresses(settings, conf, activated);
}

enum error settings_complete(struct settings *settings, bool activated)
{
    struct pool_conf *conf;
    TRY(pool_conf_read(settings->directory, &conf));
    enum error error = take_conf(settings, conf, activated);
    pool_conf_destroy(conf);
    return error;
}

void settings_deinit(struct settings *settings)
{
    for (size_t i = 0; i < settings->address_count; i++)
        free(settings->addresses[i]);
    free(settings->control);
}
