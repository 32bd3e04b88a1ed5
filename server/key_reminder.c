/*
 * Whether the key of the pool was backed up, proved, changed in time: each thing that was not is said, with the command that helps,
 * as health does. Small files of the pool directory are read, and nothing is written. No locks.
 */
#include "server/key_reminder.h"

#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "engine/coffer.h"
#include "server/health_check.h"

static void say(const struct health_facts *facts)
{
    static void (*const checks[])(const struct health_facts *facts, struct finding *finding) = {
        check_backup, check_drill, check_key_age, check_cryptoperiod, check_recovery};
    AUTO_FREE struct finding *finding = memory_zeroed(1, sizeof *finding);
    for (size_t i = 0; finding != NULL && i < COUNT_OF(checks); i++) {
        *finding = (struct finding){.severity = "ok"};
        checks[i](facts, finding);
        if (strcmp(finding->severity, "ok") != 0)
            message(MESSAGE_WARNING, "%s: type `%s`", finding->evidence, finding->command);
    }
}

void key_remind(struct pool *pool)
{
    AUTO_FREE struct health_facts *facts = memory_zeroed(1, sizeof *facts);
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    struct pool_conf *conf;
    if (facts == NULL || status == NULL || pool_status(pool, status) != ERROR_NONE ||
        pool_conf_read(pool_directory(pool), &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    facts->status = status;
    facts->self = pool_command(pool);
    key_care_look(conf, &facts->care);
    key_age_look(conf, &facts->age);
    pool_conf_destroy(conf);
    key_age_see(pool, &facts->age);
    if (pool_deep_rekey_status(pool, &facts->deep) != ERROR_NONE)
        error_forget();
    say(facts);
}
