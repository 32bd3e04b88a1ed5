/*
 * A thread that looks once a day whether the key of the pool was backed up, proved, changed in time, and says each thing
 * that was not, with the command that helps, as health does. The date of the key in force is recorded when it begins. It
 * reads small files of the pool directory only, and ends with the daemon. The lock is held for waiting only.
 */
#include "server/key_reminder.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/message.h"
#include "base/thread.h"
#include "engine/coffer.h"
#include "server/health_check.h"

struct key_reminder {
    struct pool *pool;
    uint64_t first, pause;
    struct thread thread;
    struct mutex lock; /* RANK_LEAF; guards what follows */
    struct condition changed;
    bool stopping GUARDED_BY(lock);
};

/* False where it is to end. */
static bool pause_for(struct key_reminder *reminder, uint64_t time)
{
    uint64_t until = clock_monotonic() + time;
    mutex_lock(&reminder->lock);
    while (!reminder->stopping && condition_wait_until(&reminder->changed, &reminder->lock, until))
        ;
    bool go_on = !reminder->stopping;
    mutex_unlock(&reminder->lock);
    return go_on;
}

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

static void remind(struct key_reminder *reminder)
{
    AUTO_FREE struct health_facts *facts = memory_zeroed(1, sizeof *facts);
    AUTO_FREE struct pool_status *status = memory_zeroed(1, sizeof *status);
    struct pool_conf *conf;
    if (facts == NULL || status == NULL || pool_status(reminder->pool, status) != ERROR_NONE ||
        pool_conf_read(pool_directory(reminder->pool), &conf) != ERROR_NONE) {
        error_forget();
        return;
    }
    facts->status = status;
    facts->self = pool_command(reminder->pool);
    key_care_look(conf, &facts->care);
    key_age_look(conf, &facts->age);
    pool_conf_destroy(conf);
    key_age_see(reminder->pool, &facts->age);
    if (pool_deep_rekey_status(reminder->pool, &facts->deep) != ERROR_NONE)
        error_forget();
    say(facts);
}

static void run(void *argument)
{
    struct key_reminder *reminder = argument;
    key_care_note_change(pool_directory(reminder->pool));
    for (uint64_t pause = reminder->first; pause_for(reminder, pause); pause = reminder->pause)
        remind(reminder);
}

static void reminder_free(struct key_reminder *reminder)
{
    mutex_deinit(&reminder->lock);
    condition_deinit(&reminder->changed);
    free(reminder);
}

enum error key_reminder_start(struct pool *pool, uint64_t first, uint64_t pause, struct key_reminder **reminder)
{
    struct key_reminder *made = memory_zeroed(1, sizeof *made);
    if (made == NULL)
        return ERROR_NO_MEMORY;
    made->pool = pool;
    made->first = first;
    made->pause = pause;
    mutex_init(&made->lock, RANK_LEAF);
    condition_init(&made->changed);
    enum error error = thread_start(&made->thread, "key-reminder", run, made);
    if (error != ERROR_NONE)
        reminder_free(made);
    else
        *reminder = made;
    return error;
}

void key_reminder_stop(struct key_reminder *reminder)
{
    if (reminder == NULL)
        return;
    mutex_lock(&reminder->lock);
    reminder->stopping = true;
    condition_broadcast(&reminder->changed);
    mutex_unlock(&reminder->lock);
    thread_join(&reminder->thread);
    reminder_free(reminder);
}
