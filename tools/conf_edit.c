/*
 * Editing coffer.conf line by line: a section begins with "[NAME]", a setting is "key = value". Lines that are not meant are
 * copied as they are. What comes out is parsed again by the caller before it counts. No state.
 */
#include "tools/conf_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct edit {
    char section[128]; /* of the line at hand; empty before the first */
    const char *wanted;
    bool done;
};

/* The key of a line "key = value"; false where it is none. */
static bool key_is(const char *line, const char *key)
{
    line += strspn(line, " \t");
    size_t size = strlen(key);
    return strncmp(line, key, size) == 0 && line[size + strspn(line + size, " \t")] == '=';
}

static void section_follow(struct edit *edit, const char *line)
{
    if (line[0] != '[')
        return;
    snprintf(edit->section, sizeof edit->section, "%s", line + 1);
    edit->section[strcspn(edit->section, "]\n")] = '\0';
}

static bool is_inside(const struct edit *edit)
{
    return strcmp(edit->section, edit->wanted) == 0;
}

/* Goes through the lines; `write` writes what takes the place of one, or returns false. */
static char *lines_edit(const char *text, struct edit *edit, bool (*write)(struct edit *, const char *, FILE *, const void *),
                        const void *context)
{
    AUTO_FREE char *copy = strdup(text);
    char *out = NULL, *rest = copy, *line;
    size_t size;
    FILE *stream = copy == NULL ? NULL : open_memstream(&out, &size);
    if (stream == NULL)
        return NULL;
    while ((line = strsep(&rest, "\n")) != NULL) {
        section_follow(edit, line);
        if (!write(edit, line, stream, context))
            fprintf(stream, "%s%s", line, rest == NULL ? "" : "\n");
    }
    bool failed = ferror(stream) != 0;
    if (fclose(stream) != 0 || failed) {
        free(out);
        return NULL;
    }
    return out;
}

struct devices {
    const struct pool_conf_group *group;
    char *const *paths;
};

/* All of them stand where the first stood. */
static bool write_devices(struct edit *edit, const char *line, FILE *out, const void *context)
{
    const struct devices *devices = context;
    if (!is_inside(edit) || (!key_is(line, "devices") && !key_is(line, "device-ids")))
        return false;
    for (size_t i = 0; i < devices->group->device_count && !edit->done; i++) {
        char id[UUID_TEXT_SIZE];
        uuid_format(devices->group->devices[i].id, id);
        fprintf(out, "devices = %s\ndevice-ids = %s\n", devices->paths[i], id);
    }
    edit->done = true;
    return true;
}

char *conf_with_devices(const char *text, const struct pool_conf_group *group, char *const *paths)
{
    char wanted[GROUP_NAME_MAX + 16];
    snprintf(wanted, sizeof wanted, "group %s", group->name);
    struct edit edit = {.wanted = wanted};
    return lines_edit(text, &edit, write_devices, &(struct devices){group, paths});
}

static bool write_seal(struct edit *edit, const char *line, FILE *out, const void *context)
{
    if (!is_inside(edit) || !key_is(line, "seal"))
        return false;
    fprintf(out, "seal = %s\n", (const char *)context);
    return true;
}

char *conf_with_seal(const char *text, const char *provider, const char *seal)
{
    char wanted[PROVIDER_NAME_MAX + 16];
    snprintf(wanted, sizeof wanted, "provider %s", provider);
    struct edit edit = {.wanted = wanted};
    return lines_edit(text, &edit, write_seal, seal);
}
