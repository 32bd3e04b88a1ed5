/*
 * The health checks.
 *
 * One function a check, in a table; each fills in severity and evidence and, where something is to be mended, the
 * command to type. All of them run each time and all are reported, also the good ones: a check that is missing from a
 * report cannot be told from one that was forgotten. No locks, no state: nothing to recover after a crash.
 */
#include "server/health.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/moment.h"
#include "base/shell.h"
#include "base/size.h"
#include "server/health_check.h"
#include "server/parameters.h"

#define RANDOM_SHARE_PERCENT  50    /* of the new chunks: more is hardly mere media files */
#define RANDOM_CHUNKS_MIN     16384 /* 64 MiB: fewer chunks say nothing */
#define DAMAGES_SHOWN         3     /* sentences in the evidence; `scrub status` has them all */

/* True, and the finding says so, where the files could not be found to be looked at. */
static bool not_looked_at(const struct health_facts *facts, struct finding *finding)
{
    if (facts->looked)
        return false;
    finding->severity = "note";
    snprintf(finding->evidence, sizeof(finding->evidence),
             "not looked at: coffer.conf, which names the files, cannot be read; `%s check` says why", facts->self);
    return true;
}

static void check_locked(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "the pool is unlocked and serves");
    if (!facts->status->locked)
        return;
    finding->severity = "error";
    snprintf(finding->evidence, sizeof(finding->evidence), "the pool is locked, its disks are not served%s%s%s",
             facts->status->why_locked[0] == '\0' ? "" : ": ", facts->status->why_locked,
             facts->status->trying       ? " (the key is being tried again right now)"
             : facts->status->awaits_key ? " (it is tried again every minute)"
                                         : "");
    bool wants_file = facts->status->awaits_key && facts->key_file[0] != '\0';
    AUTO_FREE char *key_file = wants_file ? shell_quote(facts->key_file) : NULL;
    if (key_file != NULL)
        snprintf(finding->command, sizeof(finding->command), "install -m 600 BACKUP_OF_THE_KEY %s; %s unlock", key_file,
                 facts->self);
    else
        snprintf(finding->command, sizeof(finding->command), "%s unlock", facts->self);
}

static void check_fenced(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_status *status = facts->status;
    finding_good(finding, status->locked ? "unknown while the pool is locked" : "the disk group is in service");
    if (!status->fenced)
        return;
    finding->severity = "error";
    snprintf(finding->evidence, sizeof(finding->evidence),
             "a write to group %s failed; it answers nothing more until cofferd is started again", status->group_name);
    for (size_t i = 0; i < status->device_count; i++) {
        if (status->devices[i].fenced)
            snprintf(finding->evidence, sizeof(finding->evidence),
                     "a write to %s failed; group %s answers nothing more until cofferd is started again",
                     status->devices[i].path, status->group_name);
    }
    snprintf(finding->command, sizeof(finding->command), "dmesg | tail; then restart cofferd");
}

static void below_is_full(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_status *status = facts->status;
    AUTO_FREE char *absolute = status->device_count == 1 ? realpath(status->devices[0].path, NULL) : NULL;
    AUTO_FREE char *word = absolute == NULL ? NULL : shell_quote(absolute);
    finding->severity = "error";
    snprintf(finding->evidence, sizeof(finding->evidence),
             "the file system below is full: group %s gives writers \"no space\"; reads and deletes go on",
             status->group_name);
    if (word != NULL)
        snprintf(finding->command, sizeof(finding->command), "df -h %s; make room there", word);
    else
        snprintf(finding->command, sizeof(finding->command), "%s device list; make room where these lie (df -h)",
                 facts->self);
}

/* How much of the capacity is used, in steps: the gravest first. */
static const struct {
    uint64_t percent;
    const char *severity, *words;
} space_steps[] = {
    {90, "error", "at 100 % writers get \"no space\": empty the trash, delete disks and snapshots, run fstrim in the guests, now"},
    {80, "warning", "empty the trash, delete disks or snapshots, or run fstrim in the guests"},
    {70, "note", "see what can go, or plan a larger pool, while there is time"},
};

static void check_space(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_status *status = facts->status;
    char free_text[32], capacity_text[32];
    if (status->locked || status->capacity_bytes == 0) {
        finding_good(finding, "unknown while the pool is locked");
        return;
    }
    if (status->below_full) {
        below_is_full(facts, finding);
        return;
    }
    uint64_t taken = status->capacity_bytes - MIN(status->free_bytes, status->capacity_bytes);
    uint64_t percent = taken / MAX(status->capacity_bytes / 100, 1);
    snprintf(finding->evidence, sizeof(finding->evidence), "%s of %s free (%llu %% taken)",
             size_format(status->free_bytes, free_text, sizeof(free_text)),
             size_format(status->capacity_bytes, capacity_text, sizeof(capacity_text)),
             (unsigned long long)MIN(percent, 100));
    for (size_t i = 0; i < COUNT_OF(space_steps); i++) {
        if (percent < space_steps[i].percent)
            continue;
        size_t used = strlen(finding->evidence);
        finding->severity = space_steps[i].severity;
        snprintf(finding->evidence + used, sizeof(finding->evidence) - used, ": %s", space_steps[i].words);
        snprintf(finding->command, sizeof(finding->command),
                 "%s trash list; %s object list; %s object list --snapshots", facts->self, facts->self, facts->self);
        return;
    }
}

static void check_read_errors(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "no read failed its check since the start");
    if (facts->status->read_errors == 0)
        return;
    finding->severity = "error";
    snprintf(finding->evidence, sizeof(finding->evidence), "%llu reads failed since the start",
             (unsigned long long)facts->status->read_errors);
    bool runs = facts->scrubs && (facts->scrub.state == SCRUB_RUNNING || facts->scrub.state == SCRUB_PAUSED);
    snprintf(finding->command, sizeof(finding->command), "%s scrub %s", facts->self, runs ? "status" : "start");
}

static void last_scrub_tell(const struct scrub_status *scrub, struct finding *finding)
{
    char verified[32], when[MOMENT_TEXT_SIZE];
    finding_good(finding, "no damage is known; no scrub has come to its end yet");
    if (scrub->completed == 0)
        return;
    snprintf(finding->evidence, sizeof(finding->evidence),
             "no damage is known; the scrub that ended %s verified %s", moment_minute(scrub->completed, when),
             size_format(scrub->completed_bytes, verified, sizeof(verified)));
}

static bool is_of_object(const struct damage_info *damage)
{
    return damage->object[0] != '\0';
}

/* Tables and the catalog: nobody can write those anew. */
static bool is_of_pool(const struct damage_info *damage)
{
    return !is_of_object(damage) && (strcmp(damage->kind, "table") == 0 || strcmp(damage->kind, "map") == 0 ||
                                     strcmp(damage->kind, "data") == 0);
}

static bool any_lost(const struct health_facts *facts, bool (*is_such)(const struct damage_info *damage))
{
    for (size_t i = 0; i < facts->damage_count; i++) {
        if (facts->damages[i].lost && (is_such == NULL || is_such(&facts->damages[i])))
            return true;
    }
    return false;
}

/* What can be done depends on what is lost; the gravest first. */
static void damage_command(const struct health_facts *facts, struct finding *finding)
{
    if (any_lost(facts, is_of_pool))
        snprintf(finding->command, sizeof(finding->command),
                 "copy what you need off the pool, then stop cofferd and `%s check`", facts->self);
    else if (any_lost(facts, is_of_object))
        snprintf(finding->command, sizeof(finding->command),
                 "%s scrub status; write these ranges anew from a backup, in whole blocks of 4096 bytes, or discard "
                 "them; then %s scrub start",
                 facts->self, facts->self);
    else
        snprintf(finding->command, sizeof(finding->command), "%s scrub status", facts->self);
}

/* Where a copy serves, or nobody needs it, it is a warning: the next fault of the device may hit the other. */
static void check_damage(const struct health_facts *facts, struct finding *finding)
{
    size_t shown = MIN(facts->damage_count, (size_t)DAMAGES_SHOWN), used = 0;
    if (facts->damage_count == 0 && !facts->damage_more) {
        if (facts->scrubs)
            last_scrub_tell(&facts->scrub, finding);
        else
            finding_good(finding, facts->status->locked ? "unknown while the pool is locked"
                                                : "unknown: the pool is open for reading only, where nothing is scrubbed");
        return;
    }
    finding->severity = any_lost(facts, NULL) || facts->damage_more ? "error" : "warning";
    for (size_t i = 0; i < shown && used < sizeof(finding->evidence); i++)
        used += (size_t)snprintf(finding->evidence + used, sizeof(finding->evidence) - used, "%s%.380s",
                                 i == 0 ? "" : "; ", facts->damages[i].sentence);
    if (used < sizeof(finding->evidence) && (facts->damage_count > shown || facts->damage_more))
        snprintf(finding->evidence + used, sizeof(finding->evidence) - used, "; and %s%zu more",
                 facts->damage_more ? "at least " : "", facts->damage_count - shown + facts->damage_more);
    damage_command(facts, finding);
}

static void check_encryption(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "everything on the devices is encrypted (AES-256-XTS) and authenticated");
    if (facts->status->encryption)
        return;
    finding->severity = "warning";
    snprintf(finding->evidence, sizeof(finding->evidence), "the pool is not encrypted: who has a disk can read it");
}

static void check_key_place(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "no key that needs no passphrase was found beside the data");
    if (!facts->status->encryption || not_looked_at(facts, finding) || !facts->key_beside_data)
        return;
    finding->severity = "warning";
    if (facts->key_old[0] != '\0') {
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "the old key %s, of provider %s, lies on a file system that also holds the pool's data: with it and a backup or "
                 "an old image of a disk, who has that disk has both", facts->key_path, facts->key_old);
        snprintf(finding->command, sizeof(finding->command), "%s key retire --destroy %s", facts->self, facts->key_old);
        return;
    }
    snprintf(finding->evidence, sizeof(finding->evidence),
             "the key %s lies on a file system that also holds the pool's data: who has that disk has both",
             facts->key_path);
    snprintf(finding->command, sizeof(finding->command),
             "move the file to another disk and name it in [provider] path of coffer.conf");
}

static void check_modes(const struct health_facts *facts, struct finding *finding)
{
    const struct modes *modes = &facts->modes;
    finding_good(finding, "the pool's directory and files are closed to other users");
    if (not_looked_at(facts, finding) || modes->wide == 0)
        return;
    finding->severity = modes->key ? "error" : "warning";
    snprintf(finding->evidence, sizeof(finding->evidence), "open to other users: %s%s", modes->names,
             modes->key ? "; cofferd refuses such a key file" : "");
    snprintf(finding->command, sizeof(finding->command), "%s", modes->command);
}

static void check_roles(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "[control] of coffer.conf can be read");
    if (not_looked_at(facts, finding) || facts->roles_fault[0] == '\0')
        return;
    finding->severity = "error";
    snprintf(finding->evidence, sizeof(finding->evidence),
             "[control] gives nobody a role, only root and the user of cofferd are let in: %s", facts->roles_fault);
    snprintf(finding->command, sizeof(finding->command), "mend that line of coffer.conf");
}

static void check_key_state(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_status *status = facts->status;
    finding_good(finding, status->encryption ? "the key may open the pool and wrap keys" : "there is no key: the pool is not encrypted");
    if (status->locked)
        finding_good(finding, "unknown while the pool is locked");
    if (status->locked || status->key_state == NULL || strcmp(status->key_state, "active") == 0)
        return;
    if (strcmp(status->key_state, "cached") == 0) {
        finding->severity = "note";
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "unknown until a key server is reached: the key came from the cache in the TPM, and nothing new is wrapped with it");
        return;
    }
    finding->severity = strcmp(status->key_state, "compromised") == 0 ? "error" : "warning";
    if (strcmp(status->key_state, "unasked") == 0)
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "the pool was unlocked by a backup or the recovery key, and no key server was asked for the state of its key: "
                 "nothing new is wrapped with it");
    else
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "the key server calls the key %s: it still opens the pool, and nothing new is wrapped with it",
                 status->key_state);
    snprintf(finding->command, sizeof(finding->command), "%s key rekey --shallow", facts->self);
}

static void sealed_tell(const struct key_watch_facts *unlock, struct finding *finding)
{
    char moment[MOMENT_TEXT_SIZE];
    if (unlock->pin)
        finding_good(finding, "the key file holds the key in force, and the TPM that sealed it answers and takes PINs; that somebody "
                              "knows its PIN was not tried");
    else
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "the key file holds the key in force, and the TPM gave it, last on %s", moment_minute(unlock->time_taken, moment));
}

/* Could the pool be opened again? Of a key file that others may read WIDE_MODES tells, too. */
static void check_unlock_ready(const struct health_facts *facts, struct finding *finding)
{
    const struct key_watch_facts *unlock = &facts->unlock;
    finding_good(finding, facts->status->locked ? "unknown while the pool is locked" : "there is no key: the pool is not encrypted");
    if (facts->status->locked || !facts->status->encryption)
        return;
    if (!unlock->looked) {
        finding->severity = "note";
        snprintf(finding->evidence, sizeof(finding->evidence), "whether the key would be there again was not looked at yet");
        return;
    }
    if (unlock->tpm)
        sealed_tell(unlock, finding);
    else if (unlock->file)
        finding_good(finding, "the key file is there and holds the key in force");
    else
        snprintf(finding->evidence, sizeof(finding->evidence), "each of %u key server%s would give the key", unlock->servers,
                 unlock->servers == 1 ? "" : "s");
    if (unlock->sentences[0] == '\0')
        return;
    bool cached = !unlock->file && facts->cached.present;
    finding->severity = unlock->ready == 0 && !cached ? "error" : "warning";
    bool needed = unlock->devices[0] != '\0';
    snprintf(finding->evidence, sizeof(finding->evidence), "%s%s%s%s%.1100s",
             needed ? "the key of " : "", unlock->devices, needed ? " is gone from its servers; " : "",
             unlock->ready == 0 && cached ? "no key server would give the key now, only the cache in the TPM: "
             : unlock->ready == 0 ? "the pool is open, but could not be opened again now: "
             : unlock->ready < unlock->servers ? "not every key server would give the key now: " : "",
             unlock->sentences);
    snprintf(finding->command, sizeof(finding->command), "%s key provider test", facts->self);
}

static void check_swap(const struct health_facts *facts, struct finding *finding)
{
    finding_good(finding, "no unencrypted swap, or all secrets are locked in memory");
    if (!facts->swap_plaintext || !facts->status->encryption)
        return;
    finding->severity = facts->arena_locked ? "note" : "warning";
    snprintf(finding->evidence, sizeof(finding->evidence), "unencrypted swap is on: %s can reach it",
             facts->arena_locked ? "cached contents of disks (not keys)" : "keys and cached contents of disks");
    snprintf(finding->command, sizeof(finding->command), "swapoff -a, or encrypt the swap device");
}

static void check_double_encryption(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_status *status = facts->status;
    /* Zeros and duplicates never come to the compressor, which counts both figures. */
    uint64_t compressed = status->unit_bytes_in / COFFER_BLOCK;
    finding_good(finding, "what is written can mostly be compressed");
    if (compressed < RANDOM_CHUNKS_MIN || status->chunks_random < compressed / 100 * RANDOM_SHARE_PERCENT)
        return;
    finding->severity = "note";
    snprintf(finding->evidence, sizeof(finding->evidence),
             "%llu %% of the new blocks since the start look encrypted or compressed already: "
             "a guest that encrypts its disk defeats deduplication and compression; `object show` tells which",
             (unsigned long long)MIN(status->chunks_random * 100 / compressed, 100));
    snprintf(finding->command, sizeof(finding->command), "%s object list", facts->self);
}

static void check_copies(const struct health_facts *facts, struct finding *finding)
{
    finding->severity = "note";
    if (facts->status->locked)
        snprintf(finding->evidence, sizeof(finding->evidence),
                 "one disk group: the loss of one device loses the pool; keep backups");
    else
        snprintf(finding->evidence, sizeof(finding->evidence),
             "one disk group of %zu device%s: the loss of one device loses the pool; keep backups",
             facts->status->device_count, facts->status->device_count == 1 ? "" : "s");
}

/* It stays so over restarts, until somebody says otherwise. */
static void check_deep_rekey(const struct health_facts *facts, struct finding *finding)
{
    const struct deep_rekey_status *deep = &facts->deep;
    uint64_t percent = deep->bytes_total == 0 ? 0 : (deep->bytes_left * 100 + deep->bytes_total - 1) / deep->bytes_total;
    finding_good(finding, "no deep rekey is paused");
    if (deep->state != DEEP_REKEY_PAUSED)
        return;
    finding->severity = "warning";
    snprintf(finding->evidence, sizeof(finding->evidence), "a deep rekey is paused, %llu %% under old keys",
             (unsigned long long)percent);
    snprintf(finding->command, sizeof(finding->command), "%s key resume", facts->self);
}

static void check_audit(const struct health_facts *facts, struct finding *finding)
{
    const struct pool_audit_state *audit = &facts->audit;
    finding_good(finding, "what is done with the keys is recorded");
    if (audit->fault[0] != '\0') {
        finding->severity = "error";
        snprintf(finding->evidence, sizeof(finding->evidence), "%s", audit->fault);
        snprintf(finding->command, sizeof(finding->command), "%s key audit", facts->self);
    } else if (audit->failure[0] != '\0') {
        finding->severity = "warning";
        snprintf(finding->evidence, sizeof(finding->evidence), "%zu entries of the audit could not be written yet: %s",
                 audit->waiting, audit->failure);
        snprintf(finding->command, sizeof(finding->command), "%s key audit", facts->self);
    } else if (!facts->status->encryption) {
        finding_good(finding, "the pool is not encrypted: it has no keys to keep a record of");
    }
}

static const struct {
    const char *id;
    void (*check)(const struct health_facts *facts, struct finding *finding);
} checks[] = {
    {"LOCKED", check_locked},        {"FENCED", check_fenced},
    {"SPACE", check_space},          {"READ_ERRORS", check_read_errors},
    {"DATA_DAMAGED", check_damage},  {"EVIDENCE", check_evidence},
    {"PLAINTEXT", check_encryption}, {"KEY_BESIDE_DATA", check_key_place},
    {"WIDE_MODES", check_modes},     {"SWAP_PLAINTEXT", check_swap},
    {"ROLES_WRONG", check_roles},
    {"NO_COPIES", check_copies},     {"DOUBLE_ENCRYPTION", check_double_encryption},
    {"KEY_STATE", check_key_state},  {"UNLOCK_READY", check_unlock_ready},
    {"AUDIT", check_audit},
    {"BACKUP_MISSING", check_backup}, {"DRILL_OLD", check_drill},
    {"KEY_OLD", check_key_age},      {"RECOVERY_OUTDATED", check_recovery},
    {"KEY_FROM_CACHE", check_key_cached},
    {"KEY_CRYPTOPERIOD", check_cryptoperiod}, {"REKEY_DUE", check_rekey_due},
    {"REKEY_PAUSED", check_deep_rekey}, {"KMS_ON_POOL", check_kms_on_pool},
};

json_t *health_json(const struct health_facts *facts)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < COUNT_OF(checks); i++) {
        struct finding finding = {.severity = "ok"};
        checks[i].check(facts, &finding);
        json_t *row = json_pack("{s:s, s:s, s:o, s:o}", "id", checks[i].id, "severity", finding.severity, "evidence",
                                text_json(finding.evidence, "see the messages of cofferd"), "command",
                                text_json(finding.command, "(it holds a path that is not UTF-8)"));
        if (json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            return NULL;
        }
    }
    return rows;
}
