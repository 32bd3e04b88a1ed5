/* What `coffer key provider` does, a file for each kind: test (key_provider.c), the conf (key_conf.c), a swap (key_use.c). */
#ifndef COFFER_TOOLS_KEY_PROVIDER_H
#define COFFER_TOOLS_KEY_PROVIDER_H

#include "engine/pool/conf.h"
#include "tools/arguments.h"
#include "tools/tool.h"

/* `conf`: of the pool directory; `name`: of the provider, NULL where none was given. */
struct provider_task {
    struct tool *tool;
    const struct arguments *arguments;
    const struct pool_conf *conf;
    const char *name;
};

enum error provider_list(const struct provider_task *task) CHECKED;
enum error provider_add(const struct provider_task *task) CHECKED;
enum error provider_remove(const struct provider_task *task) CHECKED;
enum error provider_use(const struct provider_task *task) CHECKED;
enum error provider_reseal(const struct provider_task *task) CHECKED;

#endif
