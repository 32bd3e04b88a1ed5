/*
 * Starting and ending swtpm. The address is made from the process id, so each running test has one of its own; the child
 * dies with the test (PR_SET_PDEATHSIG).
 */
#include "tests/unit/swtpm.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define PORT_FIRST 2321

void swtpm_make(struct swtpm *tpm, int number)
{
    const char *base = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    unsigned pid = (unsigned)getpid();
    memset(tpm, 0, sizeof(*tpm));
    snprintf(tpm->state, sizeof(tpm->state), "%.60s/coffer-swtpm-XXXXXX", base);
    ASSERT(mkdtemp(tpm->state) != NULL);
    snprintf(tpm->address, sizeof(tpm->address), "127.%u.%u.%u", 64 + (pid >> 16) % 64, pid >> 8 & 255, pid & 255);
    tpm->port = PORT_FIRST + 2 * number;
    snprintf(tpm->tcti, sizeof(tpm->tcti), "swtpm:host=%s,port=%d", tpm->address, tpm->port);
}

static _Noreturn void become(const struct swtpm *tpm)
{
    char state[128], server[96], control[96];
    snprintf(state, sizeof(state), "dir=%s", tpm->state);
    snprintf(server, sizeof(server), "type=tcp,port=%d,bindaddr=%s", tpm->port, tpm->address);
    snprintf(control, sizeof(control), "type=tcp,port=%d,bindaddr=%s", tpm->port + 1, tpm->address);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server, "--ctrl", control, "--flags",
           "not-need-init,startup-clear", (char *)NULL);
    perror("swtpm (scripts/setup installs it)");
    _exit(127);
}

static bool listens(const struct swtpm *tpm, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, tpm->address, &address.sin_addr);
    bool connected = connect(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(descriptor);
    return connected;
}

void swtpm_start(struct swtpm *tpm)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    tpm->pid = fork();
    ASSERT(tpm->pid >= 0);
    if (tpm->pid == 0)
        become(tpm);
    while (!listens(tpm, tpm->port) || !listens(tpm, tpm->port + 1)) {
        ASSERT(waitpid(tpm->pid, NULL, WNOHANG) == 0);
        nanosleep(&pause, NULL);
    }
}

#define OBJECTS         0x80000000u
#define LOADED_SESSIONS 0x02000000u
#define SAVED_SESSIONS  0x03000000u
#define COUNT_AT        15 /* in the answer: behind its head, "more", and the capability */

static unsigned handles_from(const struct swtpm *tpm, uint32_t first)
{
    /* TPM2_GetCapability(TPM_CAP_HANDLES, first, 16) without a session */
    uint8_t command[] = {0x80, 1, 0, 0, 0, 22, 0, 0, 1, 0x7a, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16}, answer[256];
    for (unsigned i = 0; i < 4; i++)
        command[14 + i] = (uint8_t)(first >> (24 - 8 * i));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)tpm->port)};
    inet_pton(AF_INET, tpm->address, &address.sin_addr);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(connect(descriptor, (struct sockaddr *)&address, sizeof(address)) == 0);
    ASSERT(write(descriptor, command, sizeof(command)) == (ssize_t)sizeof(command));
    ASSERT(recv(descriptor, answer, COUNT_AT + 4, MSG_WAITALL) == COUNT_AT + 4);
    close(descriptor);
    return answer[COUNT_AT + 3];
}

unsigned swtpm_slots_filled(const struct swtpm *tpm)
{
    return handles_from(tpm, OBJECTS) + handles_from(tpm, LOADED_SESSIONS) + handles_from(tpm, SAVED_SESSIONS);
}

void swtpm_kill(struct swtpm *tpm)
{
    if (tpm->pid == 0)
        return;
    kill(tpm->pid, SIGKILL);
    waitpid(tpm->pid, NULL, 0);
    tpm->pid = 0;
}

void swtpm_remove(struct swtpm *tpm)
{
    char path[160];
    swtpm_kill(tpm);
    snprintf(path, sizeof(path), "%s/tpm2-00.permall", tpm->state);
    unlink(path);
    snprintf(path, sizeof(path), "%s/.lock", tpm->state);
    unlink(path);
    snprintf(path, sizeof(path), "%s/tpm2-00.volatilestate", tpm->state);
    unlink(path);
    rmdir(tpm->state);
}
