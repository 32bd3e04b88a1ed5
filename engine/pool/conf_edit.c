/*
 * coffer.conf, changed line by line.
 *
 * The file is cut into lines; a section reaches from its head to the next one's, and comments right above a head are that
 * section's. What was changed is parsed as a whole, and compared with what it is to say, before it replaces the file in one
 * step: a crash leaves the old conf or the new one.
 *
 * The lock is the pool directory's (base/directory_lock.h). A change of keys holds it, too, for its commit, so that no provider
 * goes while it comes into force.
 */
#include "engine/pool/conf_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/conf.h"
#include "base/directory_lock.h"
#include "base/file.h"
#include "base/memory.h"
#include "engine/pool/conf.h"
#include "engine/pool/conf_line.h"
#include "engine/pool/providers.h"

enum error conf_edit_begin(const char *directory, int *lock) { return directory_lock(directory, lock); }

void conf_edit_end(int lock) { directory_unlock(lock); }

/* ---- lines ----------------------------------------------------------------------------------------------------------- */

struct edit {
    char *text; /* as it was read */
    size_t size;
    struct pool_conf *conf; /* of it */
};

static void edit_forget(struct edit *edit)
{
    pool_conf_destroy(edit->conf);
    free(edit->text);
}

static enum error edit_begin(struct edit *edit, const char *directory)
{
    AUTO_FREE char *path = file_join(directory, POOL_CONF_NAME);
    *edit = (struct edit){0};
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(pool_conf_read(directory, &edit->conf)); /* it is a text, then */
    enum error error = file_read(path, CONF_SIZE_MAX, (void **)&edit->text, &edit->size);
    if (error)
        pool_conf_destroy(edit->conf);
    return error;
}

/* ---- the new text ---------------------------------------------------------------------------------------------------- */

/* It says what it said before, but for providers, and in force is `provider`. */
static enum error text_prove(const struct edit *edit, const char *text, const char *provider, size_t provider_count)
{
    struct pool_conf *conf;
    TRY(pool_conf_parse(edit->conf->directory, text, &conf));
    bool right = conf->provider != NULL && strcmp(conf->provider->name, provider) == 0 &&
                 conf->provider_count == provider_count && uuid_equal(conf->pool, edit->conf->pool) &&
                 conf->group_count == edit->conf->group_count;
    pool_conf_destroy(conf);
    return right ? ERROR_NONE
                 : error_explain(ERROR_INVALID,
                                 "%s/%s is written in a way that cannot be changed by a program: change it by hand",
                                 edit->conf->directory, POOL_CONF_NAME);
}

static enum error text_put(const struct edit *edit, const char *text, const char *provider, size_t provider_count)
{
    AUTO_FREE char *path = file_join(edit->conf->directory, POOL_CONF_NAME);
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(text_prove(edit, text, provider, provider_count));
    return file_replace(path, text, strlen(text));
}

/* What `write` makes of the text. */
static enum error text_make(const struct edit *edit, void (*write)(FILE *out, const struct edit *, const void *),
                            const void *what, char **text)
{
    size_t size;
    FILE *out = open_memstream(text, &size);
    if (out == NULL)
        return ERROR_NO_MEMORY;
    write(out, edit, what);
    bool failed = ferror(out) != 0;
    if (fclose(out) == 0 && !failed)
        return ERROR_NONE;
    free(*text);
    *text = NULL;
    return ERROR_NO_MEMORY;
}

static void write_use(FILE *out, const struct edit *edit, const void *name)
{
    bool in_pool = false;
    for (const char *line = edit->text; *line != '\0'; line = conf_line_next(line)) {
        if (conf_line_is_head(line))
            in_pool = conf_line_is_head_of(line, "pool");
        if (in_pool && conf_line_is_setting(line, "provider"))
            fprintf(out, "provider = %s\n", (const char *)name);
        else
            fwrite(line, 1, (size_t)(conf_line_next(line) - line), out);
    }
}

/* Comments are kept back until it is known whose they are. */
static void write_without(FILE *out, const struct edit *edit, const void *section)
{
    bool left_out = false;
    const char *kept = NULL; /* the first line of comments that nothing followed yet */
    for (const char *line = edit->text; *line != '\0'; line = conf_line_next(line)) {
        if (conf_line_is_comment(line)) {
            kept = kept != NULL ? kept : line;
            continue;
        }
        const char *from = kept != NULL ? kept : line;
        left_out = conf_line_is_head(line) ? conf_line_is_head_of(line, section) : left_out;
        if (!left_out)
            fwrite(from, 1, (size_t)(conf_line_next(line) - from), out);
        kept = NULL;
    }
    if (kept != NULL && !left_out)
        fputs(kept, out);
}

static void write_with(FILE *out, const struct edit *edit, const void *section)
{
    fwrite(edit->text, 1, edit->size, out);
    if (edit->size > 0 && edit->text[edit->size - 1] != '\n')
        fputc('\n', out);
    fputs(section, out);
}

/* ---- the changes ----------------------------------------------------------------------------------------------------- */

static enum error use(const struct edit *edit, const char *name)
{
    const struct provider_config *provider;
    TRY(provider_named(edit->conf, name, &provider));
    if (provider == edit->conf->provider)
        return ERROR_NONE;
    AUTO_FREE char *text = NULL;
    TRY(text_make(edit, write_use, name, &text));
    return text_put(edit, text, name, edit->conf->provider_count);
}

enum error conf_edit_use(const char *directory, const char *name)
{
    struct edit edit;
    TRY(edit_begin(&edit, directory));
    enum error error = use(&edit, name);
    edit_forget(&edit);
    return error;
}

static enum error remove_from(const struct edit *edit, const char *name)
{
    const struct provider_config *provider;
    char section[PROVIDER_NAME_MAX + sizeof "provider "];
    TRY(provider_named(edit->conf, name, &provider));
    if (provider == edit->conf->provider)
        return error_explain(ERROR_BUSY, "provider %s is the one in %s/%s: another one is to be in force before it can go",
                             name, edit->conf->directory, POOL_CONF_NAME);
    snprintf(section, sizeof section, "provider %s", name);
    AUTO_FREE char *text = NULL;
    TRY(text_make(edit, write_without, section, &text));
    return text_put(edit, text, edit->conf->provider->name, edit->conf->provider_count - 1);
}

enum error conf_edit_remove(const char *directory, const char *name)
{
    struct edit edit;
    TRY(edit_begin(&edit, directory));
    enum error error = remove_from(&edit, name);
    edit_forget(&edit);
    return error;
}

/* Also by another way to it. */
static bool same_file(const char *a, const char *b)
{
    struct stat first, second;
    if (a == NULL || b == NULL)
        return false;
    return strcmp(a, b) == 0 ||
           (stat(a, &first) == 0 && stat(b, &second) == 0 && first.st_dev == second.st_dev && first.st_ino == second.st_ino);
}

/* What lies in the pool directory moves with it. */
static const char *path_below(const char *directory, const char *path)
{
    size_t size = strlen(directory);
    bool below = path != NULL && size > 0 && strncmp(path, directory, size) == 0 && path[size] == '/' && path[size + 1] != '\0';
    return below ? path + size + 1 : path;
}

enum error conf_edit_add_check(const struct pool_conf *conf, const struct provider_config *provider)
{
    if (!pool_conf_name_is_valid(provider->name, PROVIDER_NAME_MAX))
        return error_explain(ERROR_INVALID,
                             "a provider cannot be named \"%.64s\" in %s: letters, digits, '-', '_' and '.' can",
                             provider->name, POOL_CONF_NAME);
    if (conf->provider == NULL)
        return error_explain(ERROR_INVALID, "pool %s is not encrypted: it has no key that a provider could keep",
                             conf->directory);
    for (size_t i = 0; i < conf->provider_count; i++) {
        const struct provider_config *other = &conf->providers[i];
        if (strcmp(other->name, provider->name) == 0)
            return error_explain(ERROR_EXISTS, "there is a provider %s already: name another", provider->name);
        if (uuid_equal(other->id, provider->id))
            return error_explain(ERROR_EXISTS, "that is the id of provider %s", other->name);
        if (same_file(other->path, provider->path))
            return error_explain(ERROR_EXISTS, "%s is the key file of provider %s: name another", provider->path, other->name);
    }
    return ERROR_NONE;
}

static enum error add(const struct edit *edit, const struct provider_config *provider)
{
    const struct pool_conf *conf = edit->conf;
    TRY(conf_edit_add_check(conf, provider));
    AUTO_FREE char *section = NULL, *text = NULL;
    struct provider_config written = *provider;
    written.path = path_below(conf->directory, provider->path);
    TRY(pool_conf_provider_compose(&written, &section));
    TRY(text_make(edit, write_with, section, &text));
    return text_put(edit, text, conf->provider->name, conf->provider_count + 1);
}

enum error conf_edit_add(const char *directory, const struct provider_config *provider)
{
    struct edit edit;
    TRY(edit_begin(&edit, directory));
    enum error error = add(&edit, provider);
    edit_forget(&edit);
    return error;
}
