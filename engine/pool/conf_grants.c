/*
 * Who may use the control socket, as coffer.conf says it: `observe = user:NAME, group:NAME`, and the same for the other roles.
 *
 * Only the text is judged here. Names are those of a host and are asked for where the daemon runs (server/roles.c), so that a
 * conf reads the same everywhere: in a superblock, in a backup, by a user who has another host's. No locks, nothing on disk.
 */
#include "engine/pool/conf_grants.h"

#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/memory.h"
#include "engine/pool/conf_list.h"

#define SECTION  "control"
#define DIGITS   "0123456789"
#define WHO_MAX 255
#define ID_MAX   (UINT32_MAX - 1) /* (uid_t)-1 is nobody to the kernel */

static const char *const names[POOL_ROLES] = {"observe", "operate", "keys"};

const char *pool_role_name(enum pool_role role)
{
    return names[role];
}

/* What stands behind the prefix; NULL where it begins otherwise. */
static const char *behind(const char *text, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

static enum error who_parse(const struct conf *conf, const char *key, const char *text, struct pool_conf_grant *grant)
{
    const char *user = behind(text, "user:"), *group = behind(text, "group:"), *who = user != NULL ? user : group;
    if (who == NULL)
        return conf_complain(conf, SECTION, key, "\"%.64s\" is neither user:NAME nor group:NAME", text);
    size_t length = strlen(who);
    if (length == 0 || length > WHO_MAX || who[0] == ' ' || who[0] == '\t')
        return conf_complain(conf, SECTION, key, "\"%.64s\" does not name a %s", text, user != NULL ? "user" : "group");
    grant->group = user == NULL;
    grant->by_name = strspn(who, DIGITS) != length;
    if (!grant->by_name) {
        unsigned long long id = length > 10 ? UINT64_MAX : strtoull(who, NULL, 10);
        if (id > ID_MAX)
            return conf_complain(conf, SECTION, key, "\"%.64s\": the largest number of a user or group is %u", text,
                                 (unsigned)ID_MAX);
        grant->id = (uint32_t)id;
    }
    grant->name = strdup(who);
    return grant->name == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

static enum error add(const struct conf *conf, enum pool_role role, const char *text, struct pool_conf_grants *grants)
{
    struct pool_conf_grant grant = {.role = role};
    struct pool_conf_grant *grown = reallocarray(grants->list, grants->count + 1, sizeof *grown);
    if (grown == NULL)
        return ERROR_NO_MEMORY;
    grants->list = grown;
    TRY(who_parse(conf, names[role], text, &grant));
    grown[grants->count++] = grant;
    return ERROR_NONE;
}

static enum error role_take(const struct conf *conf, enum pool_role role, struct pool_conf_grants *grants)
{
    struct conf_list list = {0};
    if (conf_count(conf, SECTION, names[role]) == 0)
        return ERROR_NONE;
    enum error error = conf_list_fill(&list, conf, SECTION, names[role]);
    for (size_t i = 0; i < list.count && error == ERROR_NONE; i++)
        error = add(conf, role, list.items[i], grants);
    conf_list_free(&list);
    return error;
}

/* One wrong line takes all roles: it may have been meant to take one. */
static enum error keep_fault(struct pool_conf_grants *grants, const char *sentence)
{
    char *kept = strdup(sentence);
    conf_grants_free(grants);
    grants->fault = kept;
    return kept == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
}

enum error conf_grants_take(const struct conf *conf, struct pool_conf_grants *grants)
{
    enum error error = ERROR_NONE;
    if (conf_forgiven(conf) != NULL)
        return keep_fault(grants, conf_forgiven(conf));
    for (enum pool_role role = 0; role < POOL_ROLES && error == ERROR_NONE; role++)
        error = role_take(conf, role, grants);
    if (error != ERROR_INVALID)
        return error;
    error = keep_fault(grants, error_sentence(error));
    error_forget();
    return error;
}

void conf_grants_free(struct pool_conf_grants *grants)
{
    for (size_t i = 0; i < grants->count; i++)
        free(grants->list[i].name);
    free(grants->list);
    free(grants->fault);
    *grants = (struct pool_conf_grants){0};
}
