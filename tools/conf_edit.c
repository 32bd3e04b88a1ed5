/*
 * Editing coffer.conf line by line. Lines that are not meant are copied as they are. What comes out is parsed again by the
 * caller, and compared with what it is to say, before it counts. No state.
 */
#include "tools/conf_edit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "engine/pool/conf_line.h"

struct edit {
    const char *wanted; /* section */
    bool inside, done;
};

/* Goes through the lines; `write` writes what takes the place of one, or returns false. */
static char *lines_edit(const char *text, struct edit *edit, bool (*write)(struct edit *, const char *, FILE *, const void *),
                        const void *context)
{
    char *out = NULL;
    size_t size;
    FILE *stream = open_memstream(&out, &size);
    if (stream == NULL)
        return NULL;
    for (const char *line = text; *line != '\0'; line = conf_line_next(line)) {
        if (conf_line_is_head(line))
            edit->inside = conf_line_is_head_of(line, edit->wanted);
        if (!edit->inside || !write(edit, line, stream, context))
            fwrite(line, 1, (size_t)(conf_line_next(line) - line), stream);
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
    if (!conf_line_is_setting(line, "devices") && !conf_line_is_setting(line, "device-ids"))
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
    (void)edit;
    if (!conf_line_is_setting(line, "seal"))
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
