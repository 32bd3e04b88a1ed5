/*
 * The files of a pool directory, read beside a daemon. Each is replaced as a whole, so each by itself is whole; that they
 * belong together is known where two readings in a row found the same. During a change of keys the directory has the files of
 * both keys at any moment, and so has what is read. Root may read for the directory's owner, and takes nothing that its links
 * lead to: files are opened below the open directory by no link, and are its owner's, root's or the caller's. Nothing is written; secrets are wiped when the bundle is freed.
 */
#include "tools/backup_gather.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "crypto/recovery.h"
#include "engine/pool/audit.h"
#include "engine/pool/audit_pending.h"
#include "engine/pool/deep_rekey.h"
#include "engine/pool/key_ages.h"
#include "engine/pool/key_dates.h"
#include "engine/pool/superblock_copy.h"
#include "tools/backup_audit.h"

#define FILE_BYTES_MAX  (1u << 20)
#define AUDIT_BYTES_MAX (32u << 20)
#define NEXT            ".next-"
#define ATTEMPTS        5
#define PAUSE           (200 * CLOCK_MILLISECOND)

struct gathering {
    const struct pool_conf *conf;
    struct bundle *bundle;
    char root[PATH_MAX]; /* the pool directory, behind all links */
    int directory;       /* the same, open */
    uid_t owner;         /* of it */
};

/* ---- files -------------------------------------------------------------------------------------------------------- */

/* A second name of a file of root's may be the owner's doing. */
static enum error owner_check(const struct gathering *gathering, const struct stat *status, const char *path)
{
    if (status->st_uid != gathering->owner && status->st_uid != 0 && status->st_uid != geteuid())
        return error_explain(ERROR_ACCESS, "%s belongs to user %u, and its directory to user %u: nothing of another's is taken",
                             path, (unsigned)status->st_uid, (unsigned)gathering->owner);
    if (status->st_uid != gathering->owner && status->st_nlink != 1)
        return error_explain(ERROR_ACCESS, "%s belongs to user %u and has another name besides, and its directory belongs to user "
                                           "%u: nothing of another's is taken",
                             path, (unsigned)status->st_uid, (unsigned)gathering->owner);
    return ERROR_NONE;
}

static enum error file_add(struct gathering *gathering, const char *name, size_t size_max)
{
    AUTO_FREE char *path = file_join(gathering->root, name);
    void *data;
    size_t size;
    struct stat status;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    TRY(file_read_below(gathering->directory, name, path, size_max, &status, &data, &size));
    enum error error = owner_check(gathering, &status, path);
    if (error == ERROR_NONE)
        error = bundle_add(gathering->bundle, BUNDLE_FILE, name, data, size);
    memory_free_cleansed(data);
    return error;
}

static enum error file_add_if_there(struct gathering *gathering, const char *name, size_t size_max)
{
    enum error error = file_add(gathering, name, size_max);
    if (error != ERROR_NOT_FOUND)
        return error;
    error_forget();
    return ERROR_NONE;
}

/* Its path in the directory; NULL where it lies elsewhere, is a link, or is not there. `full` has the room. */
static const char *name_inside(const struct gathering *gathering, const char *path, char full[PATH_MAX])
{
    struct stat status;
    size_t size = strlen(gathering->root);
    if (lstat(path, &status) != 0 || !S_ISREG(status.st_mode) || realpath(path, full) == NULL)
        return NULL;
    return strncmp(full, gathering->root, size) == 0 && full[size] == '/' ? full + size + 1 : NULL;
}

static enum error absent_add(struct gathering *gathering, const char *of, const char *what, const char *path)
{
    char name[STREAM_NAME_SIZE];
    snprintf(name, sizeof name, "%s %s", what, of);
    return bundle_add(gathering->bundle, BUNDLE_ABSENT, name, path, strlen(path));
}

/* PATH.next-N of a change of keys; crypto/provider_root.h. */
static enum error next_keys_add(struct gathering *gathering, const char *name)
{
    const char *base;
    int parent;
    TRY(file_parent_open(gathering->directory, name, name, &parent, &base));
    DIR *directory = fdopendir(parent);
    if (directory == NULL)
        close(parent);
    size_t size = strlen(base);
    enum error error = ERROR_NONE;
    for (struct dirent *entry; directory != NULL && error == ERROR_NONE && (entry = readdir(directory)) != NULL;) {
        char next[PATH_MAX];
        if (strncmp(entry->d_name, base, size) != 0 || strncmp(entry->d_name + size, NEXT, strlen(NEXT)) != 0)
            continue;
        snprintf(next, sizeof next, "%.*s%s", (int)(strlen(name) - size), name, entry->d_name);
        error = file_add_if_there(gathering, next, FILE_BYTES_MAX);
    }
    if (directory != NULL)
        closedir(directory);
    return error;
}

/* `path` NULL: it has none. */
static enum error provider_file_add(struct gathering *gathering, const struct provider_config *provider, const char *what,
                                    const char *path, bool is_key)
{
    char full[PATH_MAX];
    if (path == NULL)
        return ERROR_NONE;
    const char *name = name_inside(gathering, path, full);
    if (name == NULL)
        return absent_add(gathering, provider->name, what, path);
    if (bundle_find(gathering->bundle, BUNDLE_FILE, name) == NULL) /* two providers may have one certificate */
        TRY(file_add(gathering, name, FILE_BYTES_MAX));
    return is_key ? next_keys_add(gathering, name) : ERROR_NONE;
}

static enum error provider_add_files(struct gathering *gathering, const struct provider_config *provider)
{
    TRY(provider_file_add(gathering, provider, "key file of provider", provider->path, true));
    TRY(provider_file_add(gathering, provider, "ca of provider", provider->ca, false));
    TRY(provider_file_add(gathering, provider, "certificate of provider", provider->certificate, false));
    return provider_file_add(gathering, provider, "certificate's key of provider", provider->key, false);
}

/* ---- devices ------------------------------------------------------------------------------------------------------- */

static enum error device_add(struct gathering *gathering, const struct pool_conf_device *device)
{
    struct superblock_copy copy;
    char id[UUID_TEXT_SIZE];
    uuid_format(device->id, id);
    enum error error = superblock_copy_read(device->path, &copy);
    if (error == ERROR_NO_MEMORY)
        return error;
    if (error == ERROR_NONE) {
        bool own = uuid_equal(copy.device, device->id) && uuid_equal(copy.pool, gathering->conf->pool);
        error = own ? bundle_add(gathering->bundle, BUNDLE_SUPERBLOCK, id, copy.bytes, copy.size) : ERROR_FOREIGN;
        free(copy.bytes);
    }
    if (error == ERROR_NONE || error == ERROR_TOO_LARGE)
        return error;
    error_forget();
    return absent_add(gathering, id, "superblock of device", device->path);
}

static enum error devices_add(struct gathering *gathering)
{
    for (size_t g = 0; g < gathering->conf->group_count; g++)
        for (size_t i = 0; i < gathering->conf->groups[g].device_count; i++)
            TRY(device_add(gathering, &gathering->conf->groups[g].devices[i]));
    return ERROR_NONE;
}

/* ---- the audit ------------------------------------------------------------------------------------------------------ */

/* In the way in which what lies elsewhere is named; restore and the comparison of two backups know it by its begin. */
static enum error audit_absent_add(struct gathering *gathering, uint64_t first, const char *path)
{
    char what[STREAM_NAME_SIZE];
    if (first == UINT64_MAX)
        snprintf(what, sizeof what, AUDIT_NAME " but for its end");
    else
        snprintf(what, sizeof what, AUDIT_NAME " before entry %" PRIu64, first);
    return bundle_add(gathering->bundle, BUNDLE_ABSENT, what, path, strlen(path));
}

/* Last, of what room is left, and a word on it. It records, and opens nothing: however much there is keeps no backup from being
 * made. */
static enum error audit_tail_add(struct gathering *gathering)
{
    AUTO_FREE char *path = file_join(gathering->root, AUDIT_NAME), *data = NULL;
    size_t used = gathering->bundle->bytes + PATH_MAX, size;
    size_t size_max = used < BUNDLE_BYTES_MAX ? MIN(AUDIT_BYTES_MAX, BUNDLE_BYTES_MAX - used) : 0;
    struct stat status;
    uint64_t first;
    if (path == NULL)
        return ERROR_NO_MEMORY;
    enum error error = backup_audit_read(gathering->directory, AUDIT_NAME, path, size_max, &status, &data, &size, &first);
    if (error == ERROR_NOT_FOUND) {
        error_forget();
        return ERROR_NONE;
    }
    TRY(error);
    TRY(owner_check(gathering, &status, path));
    TRY(bundle_add(gathering->bundle, BUNDLE_FILE, AUDIT_NAME, data, size));
    return first == 0 ? ERROR_NONE : audit_absent_add(gathering, first, path);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

static enum error all_add(struct gathering *gathering)
{
    const struct pool_conf *conf = gathering->conf;
    TRY(file_add(gathering, POOL_CONF_NAME, FILE_BYTES_MAX));
    for (size_t i = 0; i < conf->provider_count; i++)
        TRY(provider_add_files(gathering, &conf->providers[i]));
    TRY(file_add_if_there(gathering, RECOVERY_NAME, FILE_BYTES_MAX));
    TRY(file_add_if_there(gathering, DEEP_REKEY_NAME, FILE_BYTES_MAX));
    TRY(file_add_if_there(gathering, KEY_DATES_NAME, FILE_BYTES_MAX));
    TRY(file_add_if_there(gathering, KEY_AGES_NAME, FILE_BYTES_MAX));
    TRY(file_add_if_there(gathering, AUDIT_PENDING_NAME, FILE_BYTES_MAX));
    TRY(devices_add(gathering));
    return audit_tail_add(gathering);
}

static enum error root_add(struct gathering *gathering)
{
    struct stat status;
    const char *path = gathering->conf->directory;
    if (realpath(path, gathering->root) == NULL)
        return error_explain(ERROR_NOT_FOUND, "%s is gone", path);
    gathering->directory = open(gathering->root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (gathering->directory < 0)
        return error_from_errno(errno, "open the directory %s", path);
    enum error error = fstat(gathering->directory, &status) == 0 ? ERROR_NONE : error_from_errno(errno, "look at %s", path);
    if (error == ERROR_NONE) {
        gathering->owner = status.st_uid;
        error = all_add(gathering);
    }
    close(gathering->directory);
    return error;
}

static enum error gather_once(const struct pool_conf *conf, struct bundle **bundle)
{
    struct gathering *gathering = memory_zeroed(1, sizeof *gathering);
    struct bundle *made = gathering == NULL ? NULL : bundle_create(conf->pool, clock_seconds());
    enum error error = made == NULL ? ERROR_NO_MEMORY : ERROR_NONE;
    if (error == ERROR_NONE) {
        *gathering = (struct gathering){.conf = conf, .bundle = made};
        error = root_add(gathering);
    }
    free(gathering);
    if (error != ERROR_NONE)
        bundle_destroy(made);
    else
        *bundle = made;
    return error;
}

bool backup_is_of_record(const struct bundle_item *absent)
{
    return strncmp(absent->name, BACKUP_RECORD, strlen(BACKUP_RECORD)) == 0;
}

static bool item_is_same(const struct bundle *other, const struct bundle_item *item)
{
    const struct bundle_item *found = bundle_find(other, item->kind, item->name);
    return found != NULL && found->size == item->size && memcmp(found->data, item->data, item->size) == 0;
}

/* They change with use, and tell of the pool, not what opens it. */
static bool is_record(const struct bundle_item *item)
{
    static const char *const names[] = {AUDIT_NAME, AUDIT_PENDING_NAME, KEY_DATES_NAME, KEY_AGES_NAME, DEEP_REKEY_NAME};
    bool found = item->kind == BUNDLE_ABSENT && backup_is_of_record(item);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        found = found || (item->kind == BUNDLE_FILE && strcmp(item->name, names[i]) == 0);
    return found;
}

static bool all_are_in(const struct bundle *items, const struct bundle *other, bool records, const char **what)
{
    for (size_t i = 0; i < items->count; i++)
        if ((records || !is_record(&items->items[i])) && !item_is_same(other, &items->items[i])) {
            *what = items->items[i].name;
            return false;
        }
    return true;
}

bool backup_is_same(const struct bundle *a, const struct bundle *b, const char **what)
{
    return all_are_in(a, b, true, what) && all_are_in(b, a, true, what);
}

bool backup_is_current(const struct bundle *backup, const struct bundle *now, const char **what)
{
    return all_are_in(backup, now, false, what) && all_are_in(now, backup, false, what);
}

enum error backup_gather(const struct pool_conf *conf, struct bundle **bundle)
{
    struct bundle *before, *now;
    const char *what = "";
    TRY(gather_once(conf, &before));
    for (int i = 0; i < ATTEMPTS; i++) {
        enum error error = gather_once(conf, &now);
        if (error != ERROR_NONE) {
            bundle_destroy(before);
            return error;
        }
        bool same = backup_is_same(now, before, &what);
        bundle_destroy(before);
        before = now;
        if (same) {
            *bundle = now;
            return ERROR_NONE;
        }
        clock_sleep(PAUSE);
    }
    bundle_destroy(before);
    return error_explain(ERROR_BUSY, "the files of %s are changing just now: try again when the change of keys is through",
                         conf->directory);
}
