/* What the tests of devices share: a folder that comes and goes with each test, files in it, blocks with a pattern. */
#ifndef COFFER_TESTS_DEVICE_FIXTURE_H
#define COFFER_TESTS_DEVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/device/device.h"

#define BLOCK DEVICE_BLOCK

static char folder[64];

/* Several names may be in use at once. */
__attribute__((unused)) static const char *path_of(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

__attribute__((unused)) static int folder_make(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%.40s/coffer-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

__attribute__((unused)) static int folder_remove(void **state)
{
    (void)state;
    DIR *entries = opendir(folder);
    for (struct dirent *entry = readdir(entries); entry != NULL; entry = readdir(entries))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(entries), entry->d_name, 0);
    closedir(entries);
    return rmdir(folder);
}

__attribute__((unused)) static void make_file(const char *path, uint64_t size)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(ftruncate(file, (off_t)size), 0);
    close(file);
}

__attribute__((unused)) static void put_bytes(const char *path, uint64_t offset, const void *bytes, size_t size)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    assert_int_equal(pwrite(file, bytes, size, (off_t)offset), size);
    close(file);
}

__attribute__((unused)) static unsigned char *blocks_new(size_t count)
{
    unsigned char *blocks = memory_aligned(count * BLOCK);
    assert_non_null(blocks);
    memset(blocks, 0, count * BLOCK);
    return blocks;
}

__attribute__((unused)) static unsigned char *blocks_filled(size_t count, int value)
{
    unsigned char *blocks = blocks_new(count);
    memset(blocks, value, count * BLOCK);
    return blocks;
}

__attribute__((unused)) static void expect_filled(const unsigned char *bytes, size_t size, int value)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            fail_msg("byte %zu is %d, expected %d", i, bytes[i], value);
}

__attribute__((unused)) static void expect_sentence(enum error error, const char *part)
{
    if (strstr(error_sentence(error), part) == NULL)
        fail_msg("'%s' does not say '%s'", error_sentence(error), part);
}

/* Runs a program quietly; its exit status, or -1 where it cannot run. */
__attribute__((unused)) static int run_program(const char *const arguments[])
{
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
        return -1;
    return WEXITSTATUS(status);
}

/* Attaches a file to a loop device and returns the path of that; false where the machine does not let us. */
__attribute__((unused)) static bool loop_attach(const char *path, char *loop, size_t size)
{
    char command[256];
    snprintf(command, sizeof(command), "PATH=/usr/sbin:/sbin:/usr/bin:/bin losetup -f --show %s 2>/dev/null", path);
    FILE *stream = popen(command, "re");
    bool attached = stream != NULL && fgets(loop, (int)size, stream) != NULL && loop[0] == '/';
    if (stream != NULL && pclose(stream) != 0)
        attached = false;
    if (attached)
        loop[strcspn(loop, "\n")] = '\0';
    return attached;
}

__attribute__((unused)) static void loop_detach(const char *loop)
{
    const char *const arguments[] = {"losetup", "-d", loop, NULL};
    (void)run_program(arguments);
}

#endif
