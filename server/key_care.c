/*
 * The checks on the care of the key, and what they go by: dates of the file key-dates (key_dates.h), the witness, the key
 * file's check value. None of it is secret or trusted for more than a reminder, and what cannot be looked at counts as
 * harmless. A backup counts while the key that it holds is the one in force: the root key of a native provider, which
 * `--new-root` changes, or the KEK of key servers, which every change of keys does. No locks; what is written is
 * key_dates.c's.
 */
#include "server/key_care.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/message.h"
#include "base/moment.h"
#include "base/size.h"
#include "crypto/recovery.h"
#include "server/health_check.h"

#define DAY UINT64_C(86400)

/* ---- facts ------------------------------------------------------------------------------------------------------- */

static void recovery_look(const struct pool_conf *conf, struct key_care_facts *facts)
{
    struct recovery recovery;
    if (recovery_load(conf->directory, &recovery) != ERROR_NONE)
        return;
    struct key_name key = {recovery.provider, recovery.kek_number, {0}};
    memcpy(key.kcv, recovery.kcv, KCV_SIZE);
    facts->recovery = true;
    facts->recovery_fits = uuid_equal(recovery.pool, conf->pool) && key_present_is(&facts->present, &key);
}

void key_care_look(const struct pool_conf *conf, struct key_care_facts *facts)
{
    *facts = (struct key_care_facts){.now = clock_seconds(), .period = conf->key_period};
    if (conf->provider == NULL)
        return;
    key_present_look(conf, &facts->present);
    facts->known = facts->present.known && key_dates_load(conf->directory, &facts->dates) == ERROR_NONE;
    recovery_look(conf, facts);
    error_forget();
}

void key_care_note_change(const char *directory)
{
    struct pool_conf *conf;
    enum error error = pool_conf_read(directory, &conf);
    if (error == ERROR_NONE) {
        error = key_dates_note_change(directory, conf);
        pool_conf_destroy(conf);
    }
    if (error != ERROR_NONE)
        message(MESSAGE_WARNING, "the date of the key could not be recorded: %s", error_sentence(error));
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* True, and the finding says so, where there is nothing to care for. */
static bool nothing_known(const struct health_facts *facts, struct finding *finding)
{
    if (facts->status->encryption && facts->care.known)
        return false;
    finding_good(finding, facts->status->encryption ? "unknown: the witness or the dates of the key could not be looked at"
                                                    : "there is no key: the pool is not encrypted");
    return true;
}

static bool is_backed_up(const struct key_care_facts *care)
{
    return care->dates.backup.seconds != 0 && key_present_is(&care->present, &care->dates.backup.key);
}

void check_backup(const struct health_facts *facts, struct finding *finding)
{
    const struct key_care_facts *care = &facts->care;
    char day[MOMENT_TEXT_SIZE];
    if (nothing_known(facts, finding))
        return;
    moment_day(care->dates.backup.seconds, day);
    finding_good(finding, "");
    snprintf(finding->evidence, sizeof finding->evidence, "the key in force was backed up on %s", day);
    if (is_backed_up(care))
        return;
    finding->severity = "warning";
    if (care->dates.backup.seconds == 0)
        snprintf(finding->evidence, sizeof finding->evidence, "the key was never backed up by `key backup`: where it is lost, "
                 "the data is");
    else
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the backup of %s holds another key than the one in force: where that is lost, the data is", day);
    snprintf(finding->command, sizeof finding->command, "%s key backup FILE.p12", facts->self);
}

void check_drill(const struct health_facts *facts, struct finding *finding)
{
    const struct key_care_facts *care = &facts->care;
    char day[MOMENT_TEXT_SIZE];
    if (nothing_known(facts, finding))
        return;
    finding_good(finding, "there is no backup of the key in force to be proved");
    if (!is_backed_up(care))
        return;
    bool drilled = care->dates.drill.seconds != 0 && key_present_is(&care->present, &care->dates.drill.key);
    uint64_t proved = drilled && care->dates.drill.seconds > care->dates.backup.seconds ? care->dates.drill.seconds
                                                                                        : care->dates.backup.seconds;
    snprintf(finding->evidence, sizeof finding->evidence, "a backup of the key was proved on %s", moment_day(proved, day));
    if (care->now < proved || care->now - proved <= KEY_DRILL_PERIOD)
        return;
    finding->severity = "warning";
    snprintf(finding->evidence, sizeof finding->evidence, "a backup of the key was last proved on %s, %llu days ago", day,
             (unsigned long long)((care->now - proved) / DAY));
    snprintf(finding->command, sizeof finding->command, "%s key drill FILE.p12", facts->self);
}

void check_key_age(const struct health_facts *facts, struct finding *finding)
{
    const struct key_care_facts *care = &facts->care;
    uint64_t since = care->dates.change.seconds;
    char day[MOMENT_TEXT_SIZE], period[48];
    if (nothing_known(facts, finding))
        return;
    finding_good(finding, "since when the key is in force is not known yet");
    if (since == 0)
        return;
    snprintf(finding->evidence, sizeof finding->evidence, "the key has been in force since %s", moment_day(since, day));
    bool to_come = key_date_is_to_come(since, care->now), old = care->now > since && care->now - since > care->period;
    if (care->period == 0 || (!to_come && !old))
        return;
    finding->severity = "warning";
    snprintf(finding->command, sizeof finding->command, "%s key rekey --shallow", facts->self);
    if (to_come)
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the key has been in force since %s, which is still to come: a clock was wrong, and how old it is nobody knows", day);
    else
        snprintf(finding->evidence, sizeof finding->evidence,
                 "the key has been in force since %s, %llu days ago; coffer.conf allows %s (key-period)", day,
                 (unsigned long long)((care->now - since) / DAY), period_format(care->period, period, sizeof period));
}

void check_recovery(const struct health_facts *facts, struct finding *finding)
{
    if (nothing_known(facts, finding))
        return;
    finding_good(finding, facts->care.recovery ? "the recovery key opens the key in force" : "no recovery key was made");
    if (!facts->care.recovery || facts->care.recovery_fits)
        return;
    finding->severity = "warning";
    snprintf(finding->evidence, sizeof finding->evidence,
             "the recovery key is of a key that is in force no more: it opens this pool no longer");
    snprintf(finding->command, sizeof finding->command, "%s key recovery --to print", facts->self);
}

/* ---- an answer --------------------------------------------------------------------------------------------------- */

static json_t *date_json(const struct key_date *date, bool current)
{
    if (date->seconds == 0)
        return json_null();
    return json_pack("{s:I, s:b}", "time", (json_int_t)date->seconds, "current", current);
}

void key_care_tell(const char *directory, json_t *json)
{
    struct pool_conf *conf;
    struct key_care_facts facts;
    if (pool_conf_read(directory, &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    key_care_look(conf, &facts);
    const struct key_dates *dates = &facts.dates;
    json_object_set_new(json, "key_since", dates->change.seconds == 0 ? json_null()
                                                                      : json_integer((json_int_t)dates->change.seconds));
    json_object_set_new(json, "key_period", json_integer((json_int_t)conf->key_period));
    json_object_set_new(json, "backup", date_json(&dates->backup, is_backed_up(&facts)));
    json_object_set_new(json, "drill", date_json(&dates->drill, key_present_is(&facts.present, &dates->drill.key)));
    uint64_t proved = is_backed_up(&facts) ? dates->backup.seconds : 0;
    if (proved != 0 && key_present_is(&facts.present, &dates->drill.key))
        proved = MAX(proved, dates->drill.seconds);
    json_object_set_new(json, "drill_due", proved == 0 ? json_null() : json_integer((json_int_t)(proved + KEY_DRILL_PERIOD)));
    json_object_set_new(json, "recovery", date_json(&dates->recovery, facts.recovery && facts.recovery_fits));
    pool_conf_destroy(conf);
}
